"""A simulated DSP: integer arithmetic under an explicit profile, right or wrong on purpose."""
