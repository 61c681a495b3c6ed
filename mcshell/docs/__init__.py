"""The manual: pages in Markdown, and what of the reference is made from the code.

`pages` finds and reads them, for `help` in a terminal and for sphinx alike; `python -m mcshell.docs`
builds HTML and man pages.
"""
