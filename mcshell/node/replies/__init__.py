"""A node's replies: written, signed, sent."""
