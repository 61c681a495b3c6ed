"""Which verbs there are, which options they take, and how a line is read."""
