"""What if: a discrete-event model of each thread and the device work that it queues (docs/whatif.md)."""
