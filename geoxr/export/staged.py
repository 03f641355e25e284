"""Outputs appear under their final name complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from geoxr.errors import DiskFullError, MissingFileError, OutputExistsError
from geoxr.typing import PathLike

#: With less space than this, a write that failed did so for lack of it [bytes].
_ALMOST_FULL = 1 << 20


def check_free(path: PathLike, *, overwrite: bool) -> Path:
    """Return an output path that may be written.

    Raises
    ------
    OutputExistsError
        If it is taken and `overwrite` is False.
    MissingFileError
        If its directory does not exist.
    """
    final = Path(path)
    if not overwrite and final.exists():
        raise OutputExistsError(
            f"{final} exists. Choose another path, or pass overwrite=True (--overwrite on the "
            f"command line) to replace it."
        )
    if final.absolute().parent.is_file():
        raise OutputExistsError(f"{final.absolute().parent} is a file, not a directory.")
    if not final.absolute().parent.is_dir():
        raise MissingFileError(f"The directory {final.absolute().parent} does not exist; make it.")
    return final


@contextlib.contextmanager
def staged(path: PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path beside the final one to write to, and move it there when all went well.

    Raises
    ------
    OutputExistsError
        If the final path is taken and `overwrite` is False.
    DiskFullError
        If the disk fills up; what was written is removed.
    """
    final = check_free(path, overwrite=overwrite)
    # The suffix stays last, since writers choose the format by it.
    temporary = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:8]}.part{final.suffix}")
    try:
        with disk_full(final):
            yield temporary
            _replace(temporary, final)
    finally:
        _remove(temporary)


@contextlib.contextmanager
def disk_full(path: PathLike) -> Iterator[None]:
    """Turn "no space left" in any of its forms into a `DiskFullError`."""
    try:
        yield
    except Exception as error:
        free = shutil.disk_usage(Path(path).absolute().parent).free
        if isinstance(error, DiskFullError) or not (_no_space(error) or _gave_up(error, free)):
            raise
        raise DiskFullError(
            f"The disk filled up while writing {path} ({free / 2**20:.0f} MiB are free now that the "
            f"incomplete output is being removed). Free some space, or choose another place."
        ) from error


def _no_space(error: BaseException | None) -> bool:
    while error is not None:
        full = (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and error.errno in full:
            return True
        if "no space left" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


def _gave_up(error: BaseException, free: int) -> bool:
    """Tell whether GDAL failed with the disk (almost) full: it does not always say why."""
    of_gdal = type(error).__module__.startswith("rasterio")
    return (of_gdal or isinstance(error, OSError)) and free < _ALMOST_FULL


def _replace(temporary: Path, final: Path) -> None:
    if temporary.is_dir() and final.is_file():
        final.unlink()
    if final.is_dir() and not final.is_symlink():
        old = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.old")
        os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old, ignore_errors=True)
        return
    os.replace(temporary, final)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
