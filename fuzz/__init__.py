"""Fuzzes the program with damaged and hostile reports; see docs/reliability.md."""
