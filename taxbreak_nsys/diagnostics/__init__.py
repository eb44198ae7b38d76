"""Warnings: what limits a result, and what would mend it."""
