"""Sums over a report that is looked at in pieces: each piece's columns are added, and what comes out is the whole's."""
