"""From "these two differ" to the first node that does: search, smallest sub-graph, smallest input, a folder that repeats it."""
