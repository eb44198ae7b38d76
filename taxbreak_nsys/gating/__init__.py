"""Rules over a report's metrics, for continuous integration: held, broken or not judged (docs/gate.md)."""
