"""Analysis of replies that are already here: pure functions over `Answers`, no broker, no clock.

`fold` groups nodes with equal answers, `diff` compares two moments, `outliers` finds the odd ones
out, `summary` describes each column, `plots` draws (with the `report` extra), `sql` queries a
session file.
"""
