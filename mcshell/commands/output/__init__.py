"""What verbs return, and its forms without a face."""
