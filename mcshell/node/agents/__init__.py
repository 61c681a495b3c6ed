"""The agents of a node: found, loaded, external."""
