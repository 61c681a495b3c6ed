"""Jobs from the operator's side."""
