"""Reads a report's file into columns; the packages that analyse the columns know nothing of SQLite."""
