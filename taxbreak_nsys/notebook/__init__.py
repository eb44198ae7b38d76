"""What Python programs and notebooks get: results with pandas frames, pictures and short displays."""
