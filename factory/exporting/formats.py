"""All formats, by the names that `factory export --to` takes."""

from factory.exporting.axolotl import AXOLOTL
from factory.exporting.layout import Format
from factory.exporting.llama_factory import LLAMA_FACTORY
from factory.exporting.nemo_rl import NEMO_RL
from factory.exporting.openrlhf import OPENRLHF
from factory.exporting.plain import CSV, JSONL, PARQUET
from factory.exporting.trl import TRL
from factory.exporting.verl import VERL
from schemas.errors import FactoryError, nearest

FORMATS = {
    "trl": TRL,
    "llamafactory": LLAMA_FACTORY,
    "axolotl": AXOLOTL,
    "openrlhf": OPENRLHF,
    "verl": VERL,
    "nemo-rl": NEMO_RL,
    "jsonl": JSONL,
    "csv": CSV,
    "parquet": PARQUET,
}


def format_named(name: str) -> Format:
    """
    Raises:
        FactoryError: there is none; the nearest is offered.
    """
    if name not in FORMATS:
        raise FactoryError(f"there is no format {name!r} to export to: {nearest(name.lower(), FORMATS)}")
    return FORMATS[name]
