"""What may follow on a line: one completion for the prompt and for IPython.

`candidates` is a pure function of the line and a `Cache`; the cache is made anew in the background
by a `Refresher` and swapped as a whole. Typing never waits for the network or a file.
"""

from __future__ import annotations

from mcshell.commands.completion.cache import Cache, Refresher
from mcshell.commands.completion.candidates import candidates
from mcshell.commands.completion.values import Candidate

__all__ = ["Cache", "Candidate", "Refresher", "candidates"]
