"""A result as Chrome's trace JSON, for viewers that read that: chrome://tracing, Perfetto, Speedscope."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taxbreak_nsys.output.trace_events import WINDOW_NS, Slices, TraceSamples, Track, walk

if TYPE_CHECKING:
    from taxbreak_nsys.output.trace_spool import TraceSpool
    from taxbreak_nsys.result import Result


def write_chrome(result: Result, spool: TraceSpool, path: Path, window: int = WINDOW_NS) -> None:
    """Write the trace; counters are averages over the `window` (ns) before. Times are us with three decimals."""
    tracks: dict[int, Track] = {}
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.write('{"displayTimeUnit":"ns","traceEvents":[\n')
        comma = ""
        for event in walk(result, spool, window):
            for line in _lines(event, tracks):
                file.write(comma + line)
                comma = ",\n"
        file.write("\n]}\n")


def _lines(event: Track | Slices | TraceSamples, tracks: dict[int, Track]) -> Iterator[str]:
    if isinstance(event, Track):
        tracks[event.key] = event
        yield from _track(event, tracks)
    elif isinstance(event, Slices):
        yield from _slices(event, tracks[event.track])
    else:
        track = tracks[event.track]
        head = f'{{"ph":"C","pid":{track.pid},"name":{json.dumps(track.name)},"ts":'
        for time, value in zip(event.time.tolist(), event.value.tolist(), strict=True):
            yield f'{head}{_us(time)},"args":{{"value":{value:.6g}}}}}'


def _track(track: Track, tracks: dict[int, Track]) -> Iterator[str]:
    """Yield the names of a row: Chrome knows processes and threads alone, so the rows are threads."""
    about = {"ph": "M", "pid": track.pid, "tid": track.key}
    if track.parent is None:
        yield json.dumps(about | {"name": "process_name", "args": {"name": track.name}})
    elif track.unit is None:
        over = tracks[track.parent]
        name = track.name if over.parent is None else f"{over.name}: {track.name}"
        yield json.dumps(about | {"name": "thread_name", "args": {"name": name}})
        yield json.dumps(about | {"name": "thread_sort_index", "args": {"sort_index": track.key}})


def _slices(slices: Slices, track: Track) -> Iterator[str]:
    names = _spelt(slices.name, slices.names)
    texts = [
        (json.dumps(key), codes.tolist(), _spelt(codes, strings)) for key, (codes, strings) in slices.texts.items()
    ]
    numbers = [(json.dumps(key), column.tolist()) for key, column in slices.numbers.items()]
    start, end, name = slices.start.tolist(), slices.end.tolist(), slices.name.tolist()
    where = f'"pid":{track.pid},"tid":{track.key}'
    for row, (begin, stop) in enumerate(zip(start, end, strict=True)):
        about = [f"{key}:{spelt[codes[row]]}" for key, codes, spelt in texts if codes[row] >= 0]
        about += [f"{key}:{column[row]}" for key, column in numbers if column[row] >= 0]
        yield (
            f'{{"ph":"X",{where},"cat":"{slices.category}","name":{names[name[row]]},"ts":{_us(begin)},'
            f'"dur":{_us(stop - begin)},"args":{{{",".join(about)}}}}}'
        )
    for sort, column in (("s", slices.leaves), ("f", slices.arrives)):
        if column is None:
            continue
        for row in np.flatnonzero(column).tolist():
            bind = ',"bp":"e"' if sort == "f" else ""
            yield (
                f'{{"ph":"{sort}",{where},"cat":"launch","name":"launch","id":{column[row]},"ts":{_us(start[row])}{bind}}}'
            )


def _spelt(codes: np.ndarray, names: Sequence[str]) -> dict[int, str]:
    return {code: json.dumps(names[code], ensure_ascii=False) for code in np.unique(codes[codes >= 0]).tolist()}


def _us(ns: int) -> str:
    """Return ns as microseconds without loss."""
    sign = "-" if ns < 0 else ""
    return f"{sign}{abs(ns) // 1000}.{abs(ns) % 1000:03d}"
