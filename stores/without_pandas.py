"""Keeps DuckDB's client and pyarrow from importing pandas, which they do to check for pandas values.

DuckDB's client does it for each query parameter (`pandas.NaT`), pyarrow for the first list it turns into an array. The
import takes a third of a second and 35 MB, and it happens inside `execute`, where Ctrl-C is lost. When this project's
modules call the two, pandas appears not to be installed; other code can import it as usual.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType

OURS = ("schemas", "stores", "factory")
CLIENTS = ("importlib", "duckdb", "pyarrow")


class _NotForUs:
    """The first finder of `sys.meta_path`, which is asked only for modules not loaded yet."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas" and _importer() in OURS:
            raise ModuleNotFoundError("pandas is hidden from this project's modules", name=name)
        return None


def _importer() -> str:
    """The package that caused the import: the first frame outside the clients, whose C code has no frames."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in CLIENTS:
            return package
        frame = frame.f_back
    return ""


def keep_pandas_out() -> None:
    """Hides pandas for the whole process; calling it again does nothing."""
    if not any(isinstance(finder, _NotForUs) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotForUs())
