"""What node, supervisor and client tell Prometheus: text in a file, for the textfile collector."""
