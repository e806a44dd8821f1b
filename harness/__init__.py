"""Crosscheck: a cross-platform determinism harness for learned image and video codecs."""
