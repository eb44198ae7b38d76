"""Two captures side by side: what changed, in which layer, and whether it could be chance."""
