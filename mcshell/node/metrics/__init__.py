"""A node's metrics: what there is to tell, and where it is gathered."""
