"""One file a mechanism; each registers itself."""
