"""What docs/validation.py is made of: `extract` needs the analysis and the captures, the rest the JSON alone."""
