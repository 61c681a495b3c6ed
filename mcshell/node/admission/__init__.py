"""Admission: is a message to be believed, is it for this node, may it, does it make sense."""
