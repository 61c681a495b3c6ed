"""IPython and Jupyter: the `%mco` magic."""
