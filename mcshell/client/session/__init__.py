"""The session: which one this process has, who holds its queue, export and import."""
