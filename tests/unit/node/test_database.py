"""The node's file for work: its version."""

from __future__ import annotations

import sqlite3

import pytest

from mcshell.errors import ConfigError
from mcshell.node.store.database import VERSION, Database


def test_a_file_of_another_version_is_not_touched(tmp_path):
    """One line says which version it is, and what to do."""
    path = tmp_path / "work.sqlite"
    Database(path, "CREATE TABLE IF NOT EXISTS one (a);").close()
    Database(path, "CREATE TABLE IF NOT EXISTS one (a);").close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ConfigError, match="version 99"):
        Database(path, "CREATE TABLE IF NOT EXISTS two (a);")
