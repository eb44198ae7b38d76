"""Batches: analyses many reports in worker processes, with limits of time and memory per report."""
