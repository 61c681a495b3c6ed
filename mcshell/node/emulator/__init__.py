"""Emulated nodes: many identities in one process."""
