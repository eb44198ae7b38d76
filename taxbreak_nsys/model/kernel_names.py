"""Short names of kernels, derived from their demangled C++ names."""

from __future__ import annotations

import re
from functools import lru_cache

_IDENTIFIER = re.compile(r"[\w$~]+")
_GENERIC = re.compile(r"elementwise_kernel|^reduce_kernel$|^device_kernel$|^[Kk]ernel2?$|^kernel_cutlass$")
"""Base names of generic kernels, whose template arguments alone say what they compute."""

_PURPOSE = re.compile(
    r"""\b(?:
    (?P<flash>FlashAttn\w+)
    |(?P<tile>cutlass_\w*gemm\w*)
    |(?P<functor>CUDAFunctor\w*|(?!(?:AUnary|BUnary|Unary|Binary)Functor\b)\w+Functor)\b
    |(?P<function>\w+?)_kernel(?:_cuda|_impl)?[<(]
    |(?P<ops>\w+Ops)<
    )""",
    re.VERBOSE,
)
_LONGEST = 2048
"""The number of leading characters of a name that are searched for `_PURPOSE`."""


@lru_cache(maxsize=65536)
def base_name(name: str) -> str:
    """Return a kernel's name without return type, namespaces, template arguments and parameters.

    `void vllm::rms_norm_kernel<c10::BFloat16, (int)8>(T1 *)` is `rms_norm_kernel`. A name that is not C++ stays as it
    is.
    """
    end = len(name.rstrip())
    for opening, closing in (("(", ")"), ("<", ">")):
        if end and name[end - 1] == closing:
            end = _opening(name, end, opening, closing)
    backward = _IDENTIFIER.match(name[:end][::-1])
    return backward.group()[::-1] if backward else name


def _opening(name: str, end: int, opening: str, closing: str) -> int:
    """Return the index of the opening bracket whose closing bracket is right before `end`; `end` without one."""
    depth = 0
    for at in range(end - 1, -1, -1):
        if name[at] == closing:
            depth += 1
        elif name[at] == opening:
            depth -= 1
            if not depth:
                return at
    return end


@lru_cache(maxsize=65536)
def short_name(name: str) -> str:
    """Return the name to show in a table: `base_name`, and for generic kernels the functor or operation in brackets.

    `void at::native::vectorized_elementwise_kernel<(int)8, at::native::CUDAFunctor_add<c10::BFloat16>, …>(…)` is
    `vectorized_elementwise_kernel<CUDAFunctor_add>`.
    """
    base = base_name(name)
    if not _GENERIC.search(base):
        return base
    at = name.rfind(base) if "(" not in name else name.find(base + "<")
    purpose = _PURPOSE.search(name, at + len(base) if at >= 0 else 0, _LONGEST)
    return f"{base}<{next(text for text in purpose.groups() if text)}>" if purpose else base
