"""The agents of a node: found by path, loaded, and those that are external programs."""
