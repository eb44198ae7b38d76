"""Fetches remote reports and unpacks compressed ones into a temporary folder."""

from __future__ import annotations

import lzma
import shutil
import zlib
from pathlib import Path
from typing import IO, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.store.records import is_url

PACKED = (".zst", ".gz", ".xz")
REPORTS = (".sqlite", ".nsys-rep", ".qdrep")
SUFFIXES = (*REPORTS, *(report + packed for report in REPORTS for packed in PACKED))
_CHUNK = 1 << 20


def fetched(path: str, folder: Path) -> Path:
    """Return the local path of a report; a URL is downloaded to `folder` with fsspec.

    Raises TaxbreakError where it cannot be read or the extra is not installed.
    """
    if not is_url(path):
        return Path(path)
    try:
        import fsspec
    except ImportError as error:
        raise TaxbreakError(f"{path}: URLs need the extra: python -m pip install 'taxbreak-nsys[remote]'") from error
    target = folder / Path(path.rstrip("/")).name
    try:
        with fsspec.open(path, "rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
    except (OSError, ValueError, ImportError) as error:
        raise TaxbreakError(f"{path}: cannot be read ({error})") from error
    return target


def unpacked(file: Path, folder: Path, limit: int | None) -> Path:
    """Return `file`, or the path of its uncompressed copy in `folder`, which has at most `limit` bytes.

    Raises TaxbreakError where the file is damaged, exceeds the limit, or does not fit on the disk.
    """
    if file.suffix not in PACKED:
        return file
    target = folder / file.stem
    written = 0
    try:
        with _opened(file) as source, target.open("wb") as plain:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if limit is not None and written > limit:
                    raise TaxbreakError(f"{file}: is more than {limit} bytes unpacked; raise --unpack-limit")
                plain.write(chunk)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(file, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and Arrow report bad data as an OSError without errno
            raise _damaged(file, error) from error
        where = file if error.filename == str(file) else folder
        raise TaxbreakError(
            f"{file}: cannot be unpacked ({where}: {error.strerror}); TMPDIR names another place"
        ) from error
    return target


def _opened(file: Path) -> IO[bytes] | Any:
    if file.suffix == ".gz":
        import gzip

        return gzip.open(file)
    if file.suffix == ".xz":
        return lzma.open(file)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")


def _damaged(file: Path, error: Exception) -> TaxbreakError:
    return TaxbreakError(f"{file}: the compressed file is damaged or cut short ({error}); copy it again")
