"""File formats of clips, one a file; each registers itself."""
