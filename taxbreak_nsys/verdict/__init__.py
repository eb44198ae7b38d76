"""The verdict of each phase: the lever that saves most by the replay, with advice from what the report shows."""
