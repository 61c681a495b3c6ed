"""Jobs and rules of a node: the scheduler, what operators do and ask."""
