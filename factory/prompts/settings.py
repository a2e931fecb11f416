"""The prompts section of a recipe."""

from typing import Annotated

import msgspec

from schemas.settings import Settings, about


class PromptSettings(Settings, frozen=True, kw_only=True):
    """Where the prompts come from."""

    source: Annotated[str, about("bundled, a file (.jsonl, .json, .csv, .tsv, .parquet), a folder, or datasets:ID")] = (
        "bundled"
    )
    limit: Annotated[int, about("the number of prompts to take, from the first on", least=1)] | None = None
    language: Annotated[str, about("only prompts in this language, such as en")] | None = None
    split: Annotated[str, about("the split of a `datasets` id")] = "train"
    columns: Annotated[dict[str, str], about("our column: the source's")] = msgspec.field(default_factory=dict)
    keys: Annotated[
        dict[str, str], about("role, content, system, user or assistant: what the source's turns call it")
    ] = msgspec.field(default_factory=dict)
    leave_out: Annotated[list[str], about("fields of a dialogue that may be dropped, such as weight")] = msgspec.field(
        default_factory=list
    )
    skip: Annotated[int, about("the number of prompts to leave out before the first one taken", least=0)] = 0
