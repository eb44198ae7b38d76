"""Rewrites the texts of a scrubbed copy: removes private data and, with `names`, replaces private words.

The analysis must classify a new text like the old one, and different texts must stay different, so that the copy gives
the same results.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.phases import step_kind
from taxbreak_nsys.phases.engine_marks import Mark, load_engines
from taxbreak_nsys.scrub.private_texts import REMOVED, without_private
from taxbreak_nsys.scrub.public_words import PublicForm, name_patterns

_OPERATOR = re.compile(name_rules.OPERATOR_PATTERN)
_TAIL = re.compile(name_rules.OPERATOR_TAIL)
_NUMBERS = re.compile(r", (?:op_id|op_ids|seq) ?= ?\d+")
_PUBLIC = {
    "api": re.compile(r"cu[A-Za-z0-9]*_?[A-Za-z0-9_]*"),
    "os": re.compile(r"_{0,2}[a-z][a-z0-9_]{0,30}"),
    "library": re.compile(r"(?:cublas|cudnn)\w*", re.IGNORECASE),
    "domain": re.compile(
        r"cublas(?:lt|xt)?|cudnn|cufft|cusparse|cusolver|cutensor|nccl|cccl|cudla|curand", re.IGNORECASE
    ),
    "module": re.compile(
        r"\[?(?:lib(?:ToolsInjection|cupti|nvperf|cu|nv|nccl|torch|c10|tensorflow|python|c\.|pthread|stdc|gomp|jax)"
        r"|python|xla|vmlinux|kernel|Unknown|Broken|Max)[\w.+ -]*\]?"
    ),
    "symbol": re.compile(r"\[[\w ]+\]"),
}
"""Names of public interfaces by sort, which `names` keeps."""
_PUBLIC_FOLDERS = (
    "site-packages", "dist-packages", "lib-dynload", "nsight-systems", "torch", "torchvision", "torchaudio", "triton",
    "vllm", "vllm_flash_attn", "sgl_kernel", "sglang", "flashinfer", "flash_attn", "xformers", "bitsandbytes",
    "transformer_engine", "apex", "deepspeed", "cupy", "cupy_backends", "jaxlib", "jax_plugins", "jax_cuda",
    "tensorflow", "tensorrt", "tensorrt_llm", "onnxruntime",
)  # fmt: skip
"""Folders that mark a module as part of a framework; other folders of its path are private."""
_SORTS = ("api", "os", "kernel", "range", "domain", "overhead", "library", "symbol", "module", "thread")
_PREDICATES: dict[str, tuple[Callable[[str], object], ...]] = {
    "api": (
        name_rules.is_synchronisation, name_rules.is_graph_launch, name_rules.is_module_load, name_rules.is_driver_api,
        name_rules.is_kernel_launch,
    ),
    "os": (name_rules.is_os_wait,),
    "kernel": (
        name_rules.kernel_is_mediated,
        lambda text: [bool(pattern.search(text)) for pattern in name_patterns(step_kind)],
        lambda text: step_kind._tile(text),
    ),
    "range": (name_rules.library_of_text, name_rules.operator_uses_library, lambda text: bool(_OPERATOR.search(text)),
        lambda text: engine_mark(text)),
    "domain": (name_rules.is_library_domain, lambda text: text.lower().startswith("cublas")),
}  # fmt: skip


class Texts:
    """Rewrites texts by sort (`sql/scrub_strings.sql`); equal texts of a sort get equal replacements.

    `kept` and `replaced` count names by sort, `removed` counts pieces of private data by kind.
    """

    def __init__(self, *, names: bool, private: Sequence[str] = ()) -> None:
        """With `names`, private words are replaced; `private` are names that are removed from every text."""
        self.names, self._private = names, private
        self.kept: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self._stems: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()
        self._numbers = {sort: count() for sort in _SORTS}
        self._form = PublicForm()

    def new(self, sort: str, text: str) -> str:
        """Return the text that stands for `text` in the copy."""
        stem, tail = _split(sort, text)
        key = (sort, stem)
        if key not in self._stems:
            new = self._stems[key] = self._new_stem(sort, stem, tail)
            self._taken.add((sort, new))
            (self.kept if new == stem else self.replaced)[sort] += 1
        return self._stems[key] + tail

    def clean(self, text: str) -> str:
        """Return a text without private data, and count the removals."""
        clean, removed = without_private(text, self._private)
        self.removed += removed
        return clean

    def _new_stem(self, sort: str, stem: str, tail: str) -> str:
        clean = self.clean(stem) if sort != "module" else stem
        if sort == "module":
            return self._module(stem)
        keep = not self.names or not stem or bool(_PUBLIC.get(sort) and _PUBLIC[sort].fullmatch(clean))
        if keep and self._stands_for(sort, clean, stem, tail):
            return clean
        formed = self._form.of_name(clean) if self.names else clean
        if formed and self._stands_for(sort, formed, stem, tail):
            return formed
        for candidate in self._candidates(sort, stem):
            if self._stands_for(sort, candidate, stem, tail):
                return candidate
        raise TaxbreakError(f"the copy would change the analysis: no other name can stand for one of its {sort} names")

    def _module(self, path: str) -> str:
        """Return a module's path reduced to its file name and public folders, by which the analysis classifies it."""
        *folders, name = path.replace("\\", "/").split("/")
        known = [next((k for k in _PUBLIC_FOLDERS if f == k or f.startswith(f"{k}-")), None) for f in folders]
        name = self.clean(name)
        private = without_private(path, self._private)[0].endswith(REMOVED)
        if private or (self.names and not _PUBLIC["module"].fullmatch(name)):
            name = f"module_{_letters(next(self._numbers['module']))}.so"
        return "/".join(["", *filter(None, known), name]) if any(known) else name

    def _stands_for(self, sort: str, new: str, old: str, tail: str) -> bool:
        if (sort, new) in self._taken:
            return False
        if sort == "api":
            new, old, tail = name_rules.api_name(new), name_rules.api_name(old), ""
        if sort == "range" and _split(sort, new) != (new, ""):
            return False
        return new == old or all(judge(new + tail) == judge(old + tail) for judge in _PREDICATES.get(sort, ()))

    def _candidates(self, sort: str, stem: str) -> Iterator[str]:
        """Yield generated names, each in all forms that the analysis distinguishes."""
        prefix = name_rules.library_of_text(stem) or ""
        for _ in range(1000):
            letters = _letters(next(self._numbers[sort]))
            yield f"{sort}_{letters}"
            if sort == "api":
                yield from (f"cudaCall{letters}", f"cuCall{letters}", f"call_{letters}Synchronize")
                yield from (f"cuda{letters}LaunchKernel", f"cu{letters}LaunchKernel", f"{letters}LaunchKernel")
                yield from (f"cuModuleLoad{letters}", f"cudaCall{letters}Synchronize", f"cuCall{letters}Synchronize")
            elif sort == "kernel":
                yield f"gemm_kernel_{letters}"
            elif sort == "domain":
                yield from (f"cublas_{letters}", f"nccl_{letters}")
            elif sort == "range":
                yield from (f"{prefix}_{letters}", f"aten::op_{letters}", f"aten::mm_op_{letters}")
                yield from (f"autograd::op_{letters}", f"op_{letters} seq =", f"{prefix}_{letters} seq =")


@cache
def _marks() -> tuple[Mark, ...]:
    return tuple(mark for engine in load_engines() for mark in engine.marks)


def engine_mark(text: str) -> list[object]:
    """Return the fields that each engine's marks read in a range's text; of a label, only whether it is there."""
    readings: list[object] = []
    for mark in _marks():
        match = mark.text.search(text)
        readings.append(match and {key: key == "label" or value for key, value in match.groupdict().items()})
        readings.append(mark.tail is not None and bool(mark.tail.search(text)))
    return readings


def _split(sort: str, text: str) -> tuple[str, str]:
    """Split a text into its name and the trailing counter (step number, API version)."""
    if sort == "range":
        if _OPERATOR.search(text):
            stem = _TAIL.sub("", text)
            return stem, "".join(_NUMBERS.findall(text)) or (", seq = 0" if stem != text else "")
        stem = name_rules.phase_label(text)
        return stem, text[len(stem) :]
    if sort == "api":
        stem = name_rules.api_name(text)
        return stem, text[len(stem) :]
    return text, ""


def _letters(number: int) -> str:
    """Return a, b, …, z, aa, ab, …; trailing digits would be read as a step number."""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
