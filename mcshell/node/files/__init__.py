"""Files that come to a node: the place where one goes, and what has come of it so far."""
