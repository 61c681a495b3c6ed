"""The audit log, written and read back."""
