"""The programs that an emulated machine pretends to have: those that people and our agents use.

Each is a function from words to what it says; no process is started. They know what is asked of
them every day, and say in a line where they do not know more.
"""

from mcshell.node.emulator.programs import files, machine, packages, services, words
from mcshell.node.emulator.programs.program import PROGRAMS, ProgramCall, Said

__all__ = ["PROGRAMS", "ProgramCall", "Said", "files", "machine", "packages", "services", "words"]
