"""The folder that is published: the user's own in a dry run, else one that is gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.whole import whole_folder


@contextmanager
def folder_to_publish(out: Path | None, mark: str) -> Iterator[Path]:
    """Yields an empty folder to write into.

    Args:
        out: it becomes this folder, and takes the place of one written before; None: it is temporary.
        mark: the file by which a folder written before is known.
    Raises:
        FactoryError: `out` holds other files.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="publishing-") as temporary:
            yield Path(temporary)
        return
    before = [file.name for file in out.iterdir()] if (out / mark).is_file() else []
    with whole_folder(out, before) as made:
        yield made


def size_of(folder: Path) -> tuple[int, int]:
    """The number of files, and their bytes."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)
