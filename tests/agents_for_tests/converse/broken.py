"""A handler that does not load."""

raise RuntimeError("broken on purpose")
