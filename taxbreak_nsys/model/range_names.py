"""Labels of NVTX ranges in a tree of ranges: texts that differ only by a number have one label."""

from __future__ import annotations

import re

from taxbreak_nsys.model.name_rules import api_name, phase_label

_MODULE = re.compile(r"^\{'Module': '([^']+)'")
"""vLLM's layer-wise ranges (`--enable-layerwise-nvtx-tracing`): a dictionary whose key `Module` is the name."""
_XLA = re.compile(r"^(\w+):#(.*)#$", re.DOTALL)
"""XLA's ranges: a kind, then keys with values (`Thunk:#hlo_op=loop_add_fusion.3,unique_hlo_op_id=17#`)."""
_XLA_KEYS = ("hlo_op", "hlo_module", "name")
_NUMBERED_PART = re.compile(r"\.\d+(?=\.|$)")
_LONGEST = 200


def range_label(text: str) -> str:
    """Return the label under which ranges are summed up, at most 200 characters.

    The label omits trailing numbers as in a phase's label (method section 2; `layer 3` becomes `layer`), numbers of
    layers inside a module's path (`model.layers.3.mlp` becomes `model.layers.*.mlp`), ids of XLA's operations
    (`Thunk:#hlo_op=loop_add_fusion.3,unique_hlo_op_id=17#` becomes `Thunk: loop_add_fusion`) and version suffixes
    (`cublasSetStream_v2` becomes `cublasSetStream`).
    """
    module = _MODULE.match(text)
    if module:
        return _NUMBERED_PART.sub(".*", module[1])[:_LONGEST]
    xla = _XLA.match(text)
    if xla:
        values = dict(pair.partition("=")[::2] for pair in xla[2].split(","))
        name = next((values[key] for key in _XLA_KEYS if values.get(key)), "")
        return f"{xla[1]}: {phase_label(name)}"[:_LONGEST] if name else xla[1]
    return phase_label(api_name(text))[:_LONGEST]
