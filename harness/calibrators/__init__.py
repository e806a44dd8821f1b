"""Calibrators: rules that turn what a network does over real inputs into ranges and clips."""
