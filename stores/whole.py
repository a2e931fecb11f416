"""Files and folders that appear whole or not at all: written aside, then renamed in one step, whatever kills the writer."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import FactoryError

_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2 and RENAME_SWAP of macOS's renamex_np"""
_AT_FDCWD = -100


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yields the path to write to; it becomes `target` when the block ends without an error, else it is removed.

    Raises:
        OSError: it cannot be written or renamed; `target` is as it was.
    """
    if target.exists() and not target.is_file():
        yield target  # a device or a pipe, such as /dev/stdout, is written to as it is
        return
    target = target.resolve()  # a link keeps pointing to the file, which changes
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        _sync(part)
        part.replace(target)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(target)  # for the message
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, ours: Collection[str]) -> Iterator[Path]:
    """Yields an empty folder to write into; it takes the place of `target`, with all that was in it, when the block ends.

    Args:
        ours: the names of files that may be replaced.
    Raises:
        FactoryError: `target` holds other files, which would be lost, or cannot be replaced as a whole.
        OSError: it cannot be written; `target` is as it was.
    """
    target = target.resolve()
    others = sorted({file.name for file in target.iterdir()} - set(ours)) if target.is_dir() else []
    if others:
        raise FactoryError(
            f"{target} holds other files ({', '.join(others[:3])}), and would be replaced as a whole: give a new folder "
            f"with --out, such as {target / 'set'}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".part"))
    made.chmod(0o777 & ~_umask())
    try:
        yield made
        put_folder(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put_folder(made: Path, target: Path) -> None:
    """Renames `made`, beside `target`, to `target` in one step; `made` is then what was there before, or gone.

    Raises:
        FactoryError: `target` cannot be replaced as a whole.
    """
    for file in made.iterdir():
        _sync(file)
    try:
        if target.is_dir() and any(target.iterdir()):
            _exchange(made, target)
        else:
            made.rename(target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EBUSY, errno.EINVAL):
            raise FactoryError(
                f"{target} cannot be replaced as a whole ({error.strerror}): give a folder in it, such as {target / 'set'}"
            ) from error
        raise
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Exchanges two folders in one step, so that there is never neither.

    Raises:
        OSError: with EINVAL where the file system cannot.
    """
    system = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        failed = system.renamex_np(first, second, _EXCHANGE)
    else:
        failed = system.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _EXCHANGE)
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))


def _sync(path: Path) -> None:
    """Otherwise a crash of the machine could leave the new name with empty content."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
