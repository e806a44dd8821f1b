"""Codecs: from CompressAI models to plain networks and integer tables."""
