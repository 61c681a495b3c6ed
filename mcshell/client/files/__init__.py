"""Files to nodes and from nodes, chunk by chunk."""
