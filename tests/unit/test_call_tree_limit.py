"""A full call tree: a stack with a new frame ends at its deepest known node."""

from __future__ import annotations

import numpy as np
import pytest

from taxbreak_nsys.read import call_tree
from taxbreak_nsys.read.call_tree import CallTree
from taxbreak_nsys.read.stack_frames import Stacks

A, B, NEW = 1, 2, 3


def stacks(*from_root: list[int]) -> Stacks:
    """Return chains given as lists of frames, outermost caller first."""
    leaf_first = [chain[::-1] for chain in from_root]
    lengths = [len(chain) for chain in leaf_first]
    return Stacks(
        chain=np.arange(len(lengths)),
        row=np.repeat(np.arange(len(lengths)), lengths),
        level=np.concatenate([np.arange(length) for length in lengths]),
        frame=np.array([frame for chain in leaf_first for frame in chain]),
        code=np.zeros(sum(lengths), np.int64),
    )


def test_a_stack_ends_at_its_first_new_frame_when_the_tree_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_tree, "MOST_NODES", 3)
    tree = CallTree()
    assert tree.numbered(stacks([A, B])).tolist() == [2]
    # the root, A and A -> B fill the tree; a stack that reaches B through a new frame is not a sample of A -> B
    assert tree.numbered(stacks([A, NEW, B], [A, B], [NEW, A, B], [A])).tolist() == [1, 2, 0, 1]
