"""The sub-commands, one a file; imports that take time stand inside the functions."""
