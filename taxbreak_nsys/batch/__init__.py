"""Batches: many reports, each analysed in a process of its own, here or on a Dask cluster."""
