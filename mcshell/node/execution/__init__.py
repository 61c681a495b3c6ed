"""How one action is run: in a thread, or in a shim process."""
