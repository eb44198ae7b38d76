"""Outputs: each takes a `Result` and renders it; none queries a report."""
