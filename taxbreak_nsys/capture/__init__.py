"""Profiles a program with the nsys options that an attribution method needs; checks nsys, machine and reports."""
