"""The computations of the nsys recipe `taxbreak_layers` over several reports."""
