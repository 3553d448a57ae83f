"""Our speed against what a reader would otherwise use: the same work, in one run, on one machine."""
