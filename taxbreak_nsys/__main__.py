"""`python -m taxbreak_nsys`: the command line."""

from taxbreak_nsys.cli.app import main

main()
