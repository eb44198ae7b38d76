"""Sums what was measured over phases, window by window."""
