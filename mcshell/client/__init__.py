"""The client: a request goes out, its replies become a table."""
