"""Rules over a report's figures, for continuous integration: held, broken, or not to be judged (docs/gate.md)."""
