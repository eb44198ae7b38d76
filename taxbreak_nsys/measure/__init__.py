"""Measures a report: host states, exposed time, device time, library launches."""
