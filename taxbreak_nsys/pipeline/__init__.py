"""One report from its file to its result."""
