"""MCollective's `.ddl` files: read without Ruby and without eval, and written.

`read(text)` gives the document that `mcshell.ddl.load` takes; `write(document)` a file that the
real `mco` reads. Reading what was written gives the same document.
"""

from __future__ import annotations

from mcshell.ddl.ruby.document import read
from mcshell.ddl.ruby.write import write

__all__ = ["read", "write"]
