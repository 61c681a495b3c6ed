"""Jobs from the operator's side: handed in, changed, asked about."""
