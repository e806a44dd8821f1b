"""Video codecs end to end: builds of all their networks, both ends of the P-frame loop, calibration, studies."""
