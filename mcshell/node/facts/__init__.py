"""What a node says of its machine."""
