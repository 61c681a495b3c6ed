"""How machines come to certificates."""
