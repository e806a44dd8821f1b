"""The scale-space warp of SSF: as float32 operators, and as an integer-only specification with its lowering."""
