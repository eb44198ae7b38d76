"""Sums over phases, added window by window."""
