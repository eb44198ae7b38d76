"""The results store: a database of many reports' results, SQLite or PostgreSQL, through SQLAlchemy."""
