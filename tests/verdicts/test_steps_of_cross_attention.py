"""A layer with self and cross attention is no step: the whole step is found, or the confidence is low."""

from __future__ import annotations

import numpy as np
import pytest

from taxbreak_nsys.phases.repetition import LAYER_DOUBT, find_periods
from taxbreak_nsys.phases.step_detection import MIN_CONFIDENCE
from taxbreak_nsys.phases.step_division import Launched

EMBED, POSITION, FINAL_NORM, HEAD, SAMPLE = 1, 2, 3, 4, 5
NORM, QKV, SELF, OUT, QUERY, CROSS, UP, GELU, DOWN, ADD = range(10, 20)
LAYER = [NORM, QKV, SELF, OUT, ADD, NORM, QUERY, CROSS, OUT, ADD, NORM, UP, GELU, DOWN, ADD]


def launched(tokens: list[int], ends: list[bool], *, one_kernel: bool = False) -> Launched:
    token = np.array(tokens, np.int64)
    attention = np.isin(token, (SELF, CROSS)).astype(np.int64)
    if one_kernel:
        # the same kernel for both, as flash attention is
        token = np.where(token == CROSS, SELF, token)
    none = np.zeros(len(token), bool)
    return Launched(
        token=token, shape=token, ends=np.array(ends, bool), to_host=none, attention=attention, graph=none,
        hidden=none, memory=none,
    )  # fmt: skip


def decoder(layers: int, steps: int, waits: str) -> tuple[list[int], list[bool], list[int]]:
    """A decoder's steps; `waits` says where the host waits: `step` (after sampling), `layer` (there too), `none`."""
    tokens: list[int] = []
    ends: list[bool] = []
    true_ends: list[int] = []
    for _ in range(steps):
        for token in (EMBED, POSITION, *LAYER * layers, FINAL_NORM, HEAD, SAMPLE):
            tokens.append(token)
            ends.append((token == SAMPLE and waits != "none") or (token == GELU and waits == "layer"))
        true_ends.append(len(tokens) - 1)
    return tokens, ends, true_ends


@pytest.mark.parametrize("one_kernel", [False, True], ids=["two kernels", "one kernel"])
@pytest.mark.parametrize("waits", ["step", "layer", "none"])
@pytest.mark.parametrize("layers", [4, 6, 12])
def test_the_whole_step_is_found(layers: int, waits: str, one_kernel: bool) -> None:
    tokens, ends, true_ends = decoder(layers, 8, waits)
    found = find_periods(launched(tokens, ends, one_kernel=one_kernel))
    assert found is not None
    size = true_ends[0] + 1
    assert not found.one_layer
    # without a wait a step may begin at any launch that it has once, so that the first or the last can lack some
    sizes = (found.last - found.first + 1).tolist()
    assert set(sizes[1:-1]) == {size}
    assert min(sizes) >= size - 3
    assert len(found.last) >= len(true_ends) - 1
    if waits != "none":
        assert found.last.tolist() == true_ends


def test_layers_alone_have_little_confidence() -> None:
    """Nothing but layers, as of a capture within one long forward pass: they may be steps, and probably are not."""
    tokens = LAYER * 40
    found = find_periods(launched(tokens, [False] * len(tokens)))
    assert found is None or (found.one_layer and found.confidence <= LAYER_DOUBT < MIN_CONFIDENCE)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_a_small_model_keeps_its_steps(layers: int) -> None:
    """Two layers of self attention alone: what lies between the attention kernels is a layer."""
    layer = [NORM, QKV, SELF, OUT, ADD, NORM, UP, GELU, DOWN, ADD]
    tokens = [EMBED, *layer * layers, FINAL_NORM, HEAD, SAMPLE] * 10
    found = find_periods(launched(tokens, [token == SAMPLE for token in tokens]))
    assert found is not None
    assert not found.one_layer
    assert len(found.last) == 10
