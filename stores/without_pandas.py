"""Keeps pandas from being imported by DuckDB's client and pyarrow, which look whether a value is one of its own.

DuckDB's client does so for each parameter of a query (`pandas.NaT`), pyarrow for the first list that it makes an array
of. The import takes a third of a second and 35 MB, and it runs inside `execute`, where Ctrl-C is lost. Where our own
modules call the two, pandas is as if it were not installed; whoever imports pandas themselves gets it.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType

OURS = ("schemas", "stores", "factory")
CLIENTS = ("importlib", "duckdb", "pyarrow")


class _NotForUs:
    """The first of `sys.meta_path`: asked only for modules that are not loaded yet."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas" and _importer() in OURS:
            raise ModuleNotFoundError("pandas is not imported for modules of this project", name=name)
        return None


def _importer() -> str:
    """The package whose module called for it: of the clients' own, what they have in Python has frames, C has none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in CLIENTS:
            return package
        frame = frame.f_back
    return ""


def keep_pandas_out() -> None:
    """Takes effect for the process; again it does nothing."""
    if not any(isinstance(finder, _NotForUs) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotForUs())
