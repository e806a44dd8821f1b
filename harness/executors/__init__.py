"""Where the groups of cells of a run are worked on: this machine, or a cluster."""
