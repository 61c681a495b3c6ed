"""The version, where every room may read it."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
