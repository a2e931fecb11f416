"""Whether rows fit the format of their training set, found out before anything is pinned or trained on."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FactoryError

COLUMNS = {
    "preference": ("prompt", "chosen", "rejected"),
    "prompt_completion": ("prompt", "completion"),
    "prompt": ("prompt",),
}
"""format -> its conversations; a prompt set may have constraints and reference, too"""
SPLITS = ("train", "held_out")
FIGURES = ("similarity", "length_ratio", "shared_prefix_words")


def check_rows(rows: pa.Table, name: str, format: str, *, texts: bool = True) -> None:
    """Refuses rows that could not be split, shown, written or trained on.

    Args:
        texts: also refuse empty texts; sets of earlier versions may hold some, and are read as they were built.
    Raises:
        FactoryError: the first fault found, with its column and row.
    """
    of = f"training set {name}"
    names = rows.column_names
    needed = ("split", *COLUMNS[format])
    if missing := [column for column in needed if column not in names]:
        raise FactoryError(f"{of}: its rows lack {', '.join(missing)}: a {format} set returns {', '.join(needed)}")
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise FactoryError(f"{of}: its rows have two columns {twice[0]}: rename one, or leave it out")
    _check_labels(rows, of)
    for column in COLUMNS[format]:
        _check_turns(rows.column(column), f"{of}: its column {column}", texts=texts, only_last=column == "prompt")
    for field in rows.schema:
        if not _can_be_written(field.type):
            raise FactoryError(
                f"{of}: its column {field.name} has type {field.type}, which JSON has not: cast it to VARCHAR"
            )


def _check_labels(rows: pa.Table, of: str) -> None:
    split = rows.column("split")
    allowed = _is_text(split.type) and pc.is_in(pc.cast(split, pa.string()), pa.array(SPLITS))
    if allowed is False or not pc.all(allowed).as_py():
        found = split[_first(pc.invert(allowed))].as_py() if allowed is not False else split[0].as_py()
        raise FactoryError(
            f"{of}: its column split must be 'train' or 'held_out' in every row, and is {_shown(found)}: "
            "split_of(prompt_id, $held_out) gives it"
        )
    if "class" in rows.column_names and (
        not _is_text(rows.schema.field("class").type) or rows.column("class").null_count
    ):
        raise FactoryError(f"{of}: its column class must be text in every row")
    for column in FIGURES:
        if column in rows.column_names and not _is_number(rows.schema.field(column).type):
            raise FactoryError(f"{of}: its column {column} must be a number: give another name to what is not")


def _check_turns(column: pa.ChunkedArray, what: str, *, texts: bool, only_last: bool) -> None:
    if not _is_conversation(column.type):
        raise FactoryError(
            f"{what} must be a list of turns, as [user_turn(text)] and [assistant_turn(text)] make, and has type {column.type}"
        )
    first = 0
    for chunk in column.chunks:
        lengths = pc.list_value_length(chunk)
        _refuse(pc.fill_null(pc.less(lengths, 1), True), first, f"{what} is NULL or has no turn")
        turns, parents = chunk.flatten(), chunk.value_parent_indices()
        for part in ("role", "content"):
            values = pc.struct_field(turns, part)
            _refuse(pc.is_null(values), first, f"{what} has a turn whose {part} is NULL", parents)
        if texts:
            empty = pc.equal(pc.utf8_trim_whitespace(pc.cast(pc.struct_field(turns, "content"), pa.string())), "")
            if only_last:
                last = pc.subtract(pc.cumulative_sum(lengths), 1)
                empty, parents = empty.take(last), pa.array(range(len(chunk)), pa.int64())
            _refuse(empty, first, f"{what} is empty", parents)
        first += len(chunk)


def _refuse(faulty: pa.BooleanArray, first: int, said: str, rows: pa.Array | None = None) -> None:
    if pc.any(faulty).as_py():
        at = _first(faulty)
        row = first + (at if rows is None else rows[at].as_py()) + 1
        raise FactoryError(f"{said} in row {row:,}: leave such rows out with WHERE")


def _first(mask: pa.Array | pa.ChunkedArray) -> int:
    return int(pc.index(mask, True).as_py())


def _shown(value: object) -> str:
    return "NULL" if value is None else repr(value)[:40]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    )


def _is_conversation(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    turn = kind.value_type
    return all(turn.get_field_index(part) >= 0 and _is_text(turn.field(part).type) for part in ("role", "content"))


def _can_be_written(kind: pa.DataType) -> bool:
    if (
        pa.types.is_union(kind)
        or pa.types.is_interval(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return False
    if isinstance(kind, pa.BaseExtensionType):
        return _can_be_written(kind.storage_type)
    return all(_can_be_written(part) for part in _parts(kind))


def _parts(kind: pa.DataType) -> Iterator[pa.DataType]:
    for index in range(kind.num_fields):
        yield kind.field(index).type
