"""Facts: what a node says of its machine."""
