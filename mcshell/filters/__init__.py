r"""The filter language: which nodes a request is for.

A `Filter` has five parts, and a node is meant when all of them match:

- ``fact`` (-F): ``os=Debian``, ``cpu.count>=8``, ``os.family=/^deb/``: all must hold;
- ``class`` (-C) and ``agent`` (-A): a name or a /regex/: the node must have each;
- ``identity`` (-I): names, ranges ``web[01-40]`` and /regexes/: one must be the node's;
- ``compound`` (-S, ``where=``): ``(os=Debian or role::db) and not fstat('/etc/x').present=1``.

**Comparisons.** ``= == != =~ !=~ < > <= >= => =<``. A value in slashes is a regex, searched
anywhere (``=`` then means ``=~`` and ``!=`` means ``!=~``). Quotes keep spaces and parentheses
together, and make a number plain text: ``version=1.10`` equals 1.1, ``version="1.10"`` does not.
A number compares as a number when both sides look like one, a boolean equals ``true`` (or 1) or
``false`` (or 0) and has no order; text compares by code point. ``< <= > >=`` compare versions where
both sides look like one (``kernelversion>=6.9.0`` takes 6.18): in dpkg's order, or in rpm's on a node
whose ``os.family`` has RPM packages. Two plain decimals are versions where the fact's name speaks of a
version or release, and it is text; else they are numbers. A list matches when any element does, a
hash when any key does. A hash with a ``name`` stands for it: ``os=Debian`` is ``os.name=Debian``.

**A missing fact** (or one that is null) matches no comparison, ``!=`` included, as in
MCollective. So ``not os=Debian`` takes the nodes without the fact, ``os!=Debian`` does not.

**Compound.** ``!`` and ``not`` bind tightest, then ``and``, then ``or``. A bare word is a class.

**Where we differ from MCollective 2.12**, each on purpose:

- a node that two identity entries match is a match (MCollective wants exactly one);
- identities match whatever their case, as they are lower case by definition;
- ``fstat(…).present`` is a boolean, and files that not every user may read have no digest;
- facts keep their types, and dotted paths reach into them; keys with dots in them come first;
- mixed integers and decimals compare as numbers; a number and a word have no order;
- versions have the order of versions; what comes over its wire keeps its order, which is text's;
- only the slashes around a regex are dropped, not those within; ``\/`` is a slash;
- spaces around an operator and quotes around a value mean the same in ``-F`` and in ``-S``;
- a regex is Python's and runs in RE2: look-around and back-references are refused before anything
  is sent, and where it cannot be told whether it is found, neither ``=~`` nor ``!=~`` matches
  (`mcshell.patterns`).

A data plugin that a node cannot answer makes the compound filter false there, negated or not, as
in MCollective: `Subject.query` raises PluginError and the node stays out.
"""

from __future__ import annotations

from mcshell.filters.matcher import Matcher, Subject, compile_filter, parse_where

__all__ = ["Matcher", "Subject", "compile_filter", "parse_where"]
