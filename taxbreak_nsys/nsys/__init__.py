"""The nsys program on this machine, and what this machine lets it do."""
