"""The session file, and the ledger that lives in it."""
