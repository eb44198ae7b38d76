"""The verdict of a phase as plain data; `verdict.verdicts` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdict:
    """Where the phase's time can be won: the lever that saves most, its exposed share of the wall time, a sentence.

    `target` is a lever of `whatif` (`replay.levers`) or, where no lever saves anything worth naming, what takes the
    phase's time; `also` are the levers whose half saves nearly as much. `exposed_share` is the target layer's; of a
    device lever it is the share in which the device is busy. `saved_ns` is what halving the target saves of the phase,
    `savings` the same for every lever as a share: null for a layer that the evidence does not tell apart, and with
    `savings_reason` where the phase cannot be replayed. `advice` says what to do about the target, `command` is the
    `whatif` that predicts what that would bring.
    """

    target: str | None
    exposed_share: float | None
    why: str
    also: tuple[str, ...] = ()
    saved_ns: int | None = None
    savings: dict[str, float | None] = field(default_factory=dict)
    savings_reason: str | None = None
    advice: str | None = None
    command: str | None = None


UNJUDGED = Verdict(target=None, exposed_share=None, why="not replayed")
"""The verdict of a phase before its thread has been replayed."""
