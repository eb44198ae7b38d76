"""Rules that classify API calls, OS calls, ranges and kernels by name (method sections 2 to 4).

Each rule is defined here once. Functions take one name; callers apply them to distinct names, never row by row.
"""

from __future__ import annotations

import re

STATES = (
    "profiler",
    "device_wait",
    "module_load",
    "launch",
    "memop",
    "os_wait",
    "library",
    "runtime",
    "dispatch",
    "python",
)
"""The host states of method section 3, in their order of precedence: loading a module inside a launch call (lazy
loading) is `module_load`, so that it is not mistaken for the cost of launching."""

FRAMEWORK_STATES = ("python", "dispatch", "runtime")
"""The states that add up to the framework layer, delta_ft (method section 4)."""

_STREAM_SUFFIXES = ("_ptsz", "_ptds")
OPERATOR_PATTERN = r"^(?:aten|autograd)::|op_id =|seq ="
"""Matches range texts of a framework's operators (method section 2); valid in RE2 (Arrow) and in Python's `re`."""

OPERATOR_TAIL = r", (?:op_id|op_ids|seq|sizes|input_op_ids) ?=.*"
"""Matches the numbers and sizes after the operator's name in its range text."""

_SEPARATORS = "_#:./-"

_BLOCKING_COPIES = frozenset(
    {
        "cudaMemcpy",
        "cudaMemcpy2D",
        "cudaMemcpy3D",
        "cudaMemcpyToSymbol",
        "cudaMemcpyFromSymbol",
        "cuMemcpyDtoH",
        "cuMemcpyHtoD",
    }
)
_MODULE_LOADS = ("cuModuleLoad", "cuLibraryLoad", "cudaLibraryLoad")
_GRAPH_LAUNCHES = frozenset({"cudaGraphLaunch", "cuGraphLaunch"})

_OS_WAITS = frozenset(
    (
        *("poll", "ppoll", "select", "pselect", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "futex"),
        *("sem_wait", "sem_timedwait", "sem_clockwait"),
        *("pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait"),
        *("nanosleep", "clock_nanosleep", "usleep", "sleep"),
        *("sigwait", "sigwaitinfo", "sigtimedwait", "sigsuspend", "pause"),
        *("accept", "accept4", "recv", "recvfrom", "recvmsg", "recvmmsg"),
        *("wait", "waitpid", "waitid", "wait3", "wait4"),
    )
)

GIL_HELD, GIL_WAITED = "Holding GIL", "Waiting for GIL"
"""Texts of the ranges that nsys adds with `-t python-gil`; they begin and end inside a program's own ranges."""

LIBRARY_PREFIXES = ("nccl", "cublas", "cudnn", "cufft", "cusparse", "cusolver", "cutensor")
"""Text prefixes of library ranges in NVTX domains without a name (method section 4)."""

LIBRARIES = ("NCCL", "cuBLAS", "cuDNN", "cuFFT", "cuSPARSE", "cuSOLVER", "cuTENSOR")
"""The names of the libraries in the output, in the order of `LIBRARY_PREFIXES`."""

_LIBRARY_DOMAINS = (*LIBRARY_PREFIXES, "cccl", "curand", "cudla", "nvshmem")

_KERNEL_LIBRARIES = (
    ("cuDNN", re.compile(r"cudnn|xmma_(?:fprop|dgrad|wgrad)|implicit_convolve|winograd|convolve_common_engine")),
    (
        "cuBLAS",
        re.compile(
            r"nvjet|cublas|xmma_gemm|splitKreduce|gemv2[NT]|gemvN(?:SP|_)|gemmSN|gemmk1"
            r"|(?:^|_)[sdchz]gemm_\d|cutlass::Kernel2|^Kernel2$|(?:^|[ <:])cutlass_\d+_"
        ),
    ),
    ("NCCL", re.compile(r"^nccl")),
    ("cuFFT", re.compile(r"cufft|^(?:void )?(?:regular|vector)_fft")),
    ("cuSPARSE", re.compile(r"cusparse")),
    ("cuSOLVER", re.compile(r"cusolver")),
    ("cuTENSOR", re.compile(r"cutensor")),
)
"""(library, pattern of its kernels' names): the first match is the library whose host code launches the kernel."""

_MEDIATED_KERNEL = re.compile(r"cublas|cudnn|cutlass|nvjet|gemm|gemv|xmma|splitk|fmha|flash", re.IGNORECASE)
_MEDIATED_OPERATOR = re.compile(
    r"^aten::_?(?:mm|addmm|bmm|baddbmm|linear|matmul|\w*convolution|conv[123]d|\w*scaled_dot_product)"
)


def api_name(name: str) -> str:
    """Return an API call's name without its version suffixes (``_v3020``, ``_v2``, ``_ptsz``, ``_ptds``).

    Method section 3: API names are compared in this form.
    """
    while True:
        head, mark, version = name.rpartition("_v")
        if name.endswith(_STREAM_SUFFIXES):
            name = name[: -len(_STREAM_SUFFIXES[0])]
        elif mark and version.isdecimal():
            name = head
        else:
            return name


def is_synchronisation(api: str) -> bool:
    """Return whether a call (by `api_name`) waits for the device until it returns (method section 3, device_wait)."""
    return api.endswith("Synchronize") or api in _BLOCKING_COPIES


def waits_for_whole_device(api: str) -> bool:
    """Return whether a synchronisation (by `api_name`) waits for every stream, not for one stream or event."""
    return api in ("cudaDeviceSynchronize", "cudaThreadSynchronize", "cuCtxSynchronize")


def waits_for_one_stream(api: str) -> bool:
    """Return whether a synchronisation (by `api_name`) waits for all work of one stream."""
    return api in ("cudaStreamSynchronize", "cuStreamSynchronize")


def waits_for_event(api: str) -> bool:
    """Return whether a call (by `api_name`) lets the host wait for a CUDA event."""
    return api in ("cudaEventSynchronize", "cuEventSynchronize")


def orders_stream_after_event(api: str) -> bool:
    """Return whether a call (by `api_name`) lets a stream wait for a CUDA event."""
    return api in ("cudaStreamWaitEvent", "cuStreamWaitEvent")


def creates_event(api: str) -> bool:
    """Return whether a call (by `api_name`) creates a CUDA event."""
    return api in ("cudaEventCreate", "cudaEventCreateWithFlags", "cuEventCreate")


def records_event(api: str) -> bool:
    """Return whether a call (by `api_name`) records a CUDA event."""
    return api.startswith(("cudaEventRecord", "cuEventRecord"))


def is_graph_launch(api: str) -> bool:
    """Return whether a call (by `api_name`) launches a CUDA graph."""
    return api in _GRAPH_LAUNCHES


def is_kernel_launch(api: str) -> bool:
    """Return whether a call (by `api_name`) launches a kernel, judging by its name alone."""
    return "LaunchKernel" in api or "LaunchCooperativeKernel" in api


def is_module_load(api: str) -> bool:
    """Return whether a call (by `api_name`) loads a module or library (method section 3, module_load)."""
    return api.startswith(_MODULE_LOADS)


def is_driver_api(api: str) -> bool:
    """Return whether a call (by `api_name`) belongs to the CUDA driver API, not to the runtime API."""
    return api.startswith("cu") and not api.startswith("cuda")


def is_os_wait(name: str) -> bool:
    """Return whether an OS runtime call waits (method section 3, os_wait)."""
    return name.lstrip("_") in _OS_WAITS


def is_library_domain(domain: str) -> bool:
    """Return whether a named NVTX domain is a CUDA library's (method section 4, evidence ranges)."""
    return domain.lower().startswith(_LIBRARY_DOMAINS)


def is_gil_range(text: str) -> bool:
    """Return whether a range says who has Python's global lock, and marks nothing of the program (method section 2)."""
    return text in (GIL_HELD, GIL_WAITED)


def library_of_text(text: str) -> str | None:
    """Return the library prefix (`cublas`) that a range's text starts with, for domains without a name; else None."""
    lower = text.lower()
    return next((prefix for prefix in LIBRARY_PREFIXES if lower.startswith(prefix)), None)


def library_of_range(text: str) -> str | None:
    """Return the library (`cuBLAS`) that a range's text or a domain's name starts with; None for other texts."""
    prefix = library_of_text(text)
    return LIBRARIES[LIBRARY_PREFIXES.index(prefix)] if prefix else None


def phase_label(text: str) -> str:
    """Return a phase's label: the text without a trailing number and the separators before it.

    A text that is only a number stays as it is: a phase needs a name (method section 2).
    """
    end = len(text)
    while end and text[end - 1].isdecimal():
        end -= 1
    if end == len(text):
        return text
    while end and (text[end - 1] in _SEPARATORS or text[end - 1].isspace()):
        end -= 1
    return text[:end] or text


def kernel_library(name: str) -> str | None:
    """Return the CUDA library that a kernel comes from by its name; None for any other kernel.

    A kernel of CUTLASS or Triton that a framework built itself is not a library's: the framework launches it.
    """
    return next((library for library, pattern in _KERNEL_LIBRARIES if pattern.search(name)), None)


def has_block_per_token(name: str) -> bool:
    """Return whether a kernel with a one-dimensional grid runs one block per token: vLLM's write to the KV cache."""
    return "reshape_and_cache" in name


def kernel_is_mediated(name: str) -> bool:
    """Return whether a kernel's name looks like a library's kernel (method section 4, subtractive)."""
    return _MEDIATED_KERNEL.search(name) is not None


def operator_uses_library(name: str) -> bool:
    """Return whether an operator calls a library (method section 4, subtractive)."""
    return _MEDIATED_OPERATOR.match(name) is not None
