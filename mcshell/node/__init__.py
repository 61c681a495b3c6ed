"""The node: what runs on each machine of the fleet."""
