"""The nsys program on this machine, and the permissions that it has here."""
