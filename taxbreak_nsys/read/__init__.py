"""Reading: from a report's file to columns. Nothing below this package knows of SQLite."""
