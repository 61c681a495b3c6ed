"""Tests of sessions on real nodes."""
