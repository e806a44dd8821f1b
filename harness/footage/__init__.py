"""Footage: clips of 8-bit RGB frames out of files and into files. Knows no codec."""
