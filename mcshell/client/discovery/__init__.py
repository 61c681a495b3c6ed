"""Whom a request is for: targeting, discovery methods, the cache of nodes, registrations."""
