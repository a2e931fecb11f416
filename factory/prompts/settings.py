"""The prompts section of a recipe."""

from typing import Annotated

import msgspec

from schemas.settings import Settings, about


class PromptSettings(Settings, frozen=True, kw_only=True):
    """Where the prompts come from."""

    source: Annotated[str, about("bundled, a .jsonl, .csv or .parquet file, or datasets:ID")] = "bundled"
    limit: Annotated[int, about("the number of prompts to take, from the first on", least=1)] | None = None
    language: Annotated[str, about("only prompts in this language, such as en")] | None = None
    split: Annotated[str, about("the split of a `datasets` id")] = "train"
    columns: Annotated[dict[str, str], about("our column: the source's")] = msgspec.field(default_factory=dict)
