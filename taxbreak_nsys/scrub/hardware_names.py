"""Reduces the names of GPUs and CPUs, free text in a report, to known words and model numbers."""

from __future__ import annotations

import re

_WORDS = """
nvidia tesla geforce quadro titan rtx gtx mx super ti laptop gpu hbm2 hbm2e hbm3 hbm3e pcie sxm sxm2 sxm3 sxm4
sxm5 nvl nvlink mig ada generation grace hopper blackwell ampere lovelace turing volta max-q mobile server
edition workstation thor orin xavier jetson drive device graphics vgpu grid amd intel arm epyc ryzen
threadripper pro processor xeon core platinum gold silver bronze cpu neoverse cortex altra graviton apple
genuine authentic eng sample with radeon family pentium celeron atom ultra dual quad octa six eight
""".split()  # noqa: SIM905
_ALLOWED = frozenset(_WORDS)
_MODEL = re.compile(
    r"(?:[a-z]{1,3}-?)?\d{1,5}[a-z]{0,3}(?:-\d{1,5}[a-z]{0,3})?|\d+(?:\.\d+)?[gm](?:b|hz)|\d+-core|\d+g\.\d+gb|v\d|@|[a-z]\d{3}"
    r"|neoverse-[nve]\d|[a-z]\d{2,4}(?:-(?:sxm\d?|pcie))?(?:-\d+gb)?|gh?b?\d{3}",
    re.IGNORECASE,
)


def hardware_name(text: str) -> str:
    """Return the vendor words and model numbers of a GPU's or CPU's name, at most 80 characters."""
    words = []
    for word in text[:400].split():
        plain = re.sub(r"\((?:R|TM|C)\)|[®™]", "", word, flags=re.IGNORECASE).strip(",;")
        if plain.lower() in _ALLOWED or _MODEL.fullmatch(plain):
            words.append(word)
    return " ".join(words)[:80]
