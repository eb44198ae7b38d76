"""What the nsys recipe `taxbreak_layers` computes over several reports."""
