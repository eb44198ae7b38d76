"""The verdict of a phase as plain data; `verdict.verdicts` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdict:
    """Where the phase's time can be saved: the lever that saves most, its exposed share of the wall time, a sentence.

    `target` is a lever of `whatif` (`replay.levers`) or, if no lever saves a noticeable part, the layer that takes the
    phase's time; halving a lever of `also` saves nearly as much. `exposed_share` is the exposed share of the target's
    layer; for a device lever, the share of time in which the device is busy. `saved_ns` is the time that halving the
    target saves in the phase; `savings` has for every lever the share of the phase that halving it saves, None for
    a layer that the evidence does not separate, and for a phase that cannot be replayed (`savings_reason`). `advice`
    says what to do about the target; `command` is the `whatif` command that predicts the effect.
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
