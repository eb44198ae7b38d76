"""How the texts that a clean copy keeps are rewritten: paths and secrets go, and with `names` the names go too.

A new text must be judged by the analysis as the old one was (`words`), and texts that were told apart stay
apart; so the copy gives the same figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model import name_rules

_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\\/\s\0]+[\\/])+")
_SECRET = re.compile(
    r"gh[pousr]_\w{10,}|hf_\w{10,}|AKIA[A-Z0-9]{12,}|sk-[\w-]{12,}|xox[abprs]-[\w-]{8,}|eyJ[\w-]{8,}\.[\w.-]+"
    r"|-----BEGIN[^-]*PRIVATE KEY-----.*|[\w.+-]+@[\w-]+\.[\w.]+"
    r"|(?i:\w*(?:password|passwd|secret|token|api_?key)\w*\s*[=:]\s*\S+)",
    re.DOTALL,
)
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
"""Names under which `names` leaves a text as it is: those of public interfaces."""
_PUBLIC_FOLDERS = (
    "site-packages", "dist-packages", "lib-dynload", "nsight-systems", "torch", "torchvision", "torchaudio", "triton",
    "vllm", "vllm_flash_attn", "sgl_kernel", "sglang", "flashinfer", "flash_attn", "xformers", "bitsandbytes",
    "transformer_engine", "apex", "deepspeed", "cupy", "cupy_backends", "jaxlib", "jax_plugins", "jax_cuda",
    "tensorflow", "tensorrt", "tensorrt_llm", "onnxruntime",
)  # fmt: skip
"""Folders by which a module is known to be a framework's; the others of its path are the user's."""
_SORTS = ("api", "os", "kernel", "range", "domain", "overhead", "library", "symbol", "module", "thread")
_PREDICATES: dict[str, tuple[Callable[[str], object], ...]] = {
    "api": (
        name_rules.is_synchronisation, name_rules.is_graph_launch, name_rules.is_module_load, name_rules.is_driver_api,
        name_rules.is_kernel_launch,
    ),
    "os": (name_rules.is_os_wait,),
    "kernel": (name_rules.kernel_is_mediated,),
    "range": (name_rules.library_of_text, name_rules.operator_uses_library, lambda text: bool(_OPERATOR.search(text))),
    "domain": (name_rules.is_library_domain, lambda text: text.lower().startswith("cublas")),
}  # fmt: skip


class Texts:
    """Rewrites texts by sort (`sql/scrub_strings.sql`); the same text of a sort always becomes the same."""

    def __init__(self, *, names: bool) -> None:
        """Begin with nothing rewritten; `names` also replaces what kernels, ranges and the like are called."""
        self.names = names
        self._stems: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()
        self._numbers = {sort: count() for sort in _SORTS}

    def new(self, sort: str, text: str) -> str:
        """Return the text that stands for `text` in the copy."""
        stem, tail = _split(sort, text)
        key = (sort, stem)
        if key not in self._stems:
            self._stems[key] = self._new_stem(sort, stem)
            self._taken.add((sort, self._stems[key]))
        return self._stems[key] + tail

    def _new_stem(self, sort: str, stem: str) -> str:
        if sort == "module":
            return self._module(stem)
        clean = without_secrets(stem)
        keep = not self.names or not stem or bool(_PUBLIC.get(sort) and _PUBLIC[sort].fullmatch(clean))
        if keep and self._stands_for(sort, clean, stem):
            return clean
        for candidate in self._candidates(sort, stem):
            if self._stands_for(sort, candidate, stem):
                return candidate
        raise TaxbreakError(f"the copy would change the analysis: no other name can stand for one of its {sort} names")

    def _module(self, path: str) -> str:
        """Keep a module's file name and the public folders above it: what the analysis knows it by."""
        *folders, name = path.replace("\\", "/").split("/")
        known = [next((k for k in _PUBLIC_FOLDERS if f == k or f.startswith(f"{k}-")), None) for f in folders]
        name = without_secrets(name)
        if self.names and not _PUBLIC["module"].fullmatch(name):
            name = f"module_{_letters(next(self._numbers['module']))}.so"
        return "/".join(["", *filter(None, known), name]) if any(known) else name

    def _stands_for(self, sort: str, new: str, old: str) -> bool:
        if (sort, new) in self._taken:
            return False
        if sort == "api":
            new, old = name_rules.api_name(new), name_rules.api_name(old)
        if sort == "range" and _split(sort, new) != (new, ""):
            return False
        return all(judge(new) == judge(old) for judge in _PREDICATES.get(sort, ()))

    def _candidates(self, sort: str, stem: str) -> Iterator[str]:
        """Yield generated names, each in the forms that the analysis tells apart."""
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


def without_secrets(text: str) -> str:
    """Return a text without folders, mail addresses and what looks like a secret."""
    return _SECRET.sub("[removed]", _PATH.sub("", text)).replace("\0", " ")


def _split(sort: str, text: str) -> tuple[str, str]:
    """Return the part of a text that names something, and the number behind it that only counts."""
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
    """Return a, b, …, z, aa, ab, …: digits at the end of a name would count as a step's number."""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
