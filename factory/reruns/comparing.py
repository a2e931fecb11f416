"""Two trainings or two tables compared: where they differ first, and by how much."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from factory.inference.conversion.safetensors_file import tensors_in


def loss_difference(then: Sequence[float], now: Sequence[float]) -> float:
    """Largest absolute difference of two losses at the same step, in nats; infinite if one curve is longer."""
    if len(then) != len(now):
        return math.inf
    pairs = ((a, b) for a, b in zip(then, now, strict=True) if not (math.isnan(a) and math.isnan(b)) and a != b)
    return max((_distance(a, b) for a, b in pairs), default=0.0)


def _distance(one: float, other: float) -> float:
    apart = abs(one - other)
    return math.inf if math.isnan(apart) else apart


def weights_difference(one: Path, other: Path) -> float:
    """Largest absolute difference of two weights of the same name, of two folders of safetensors; infinite if the names or
    shapes differ.

    Raises:
        FactoryError: a folder has no weights, or is damaged.
    """
    first, second = tensors_in(one), tensors_in(other)
    if {name: tensor.shape for name, tensor in first.items()} != {n: tensor.shape for n, tensor in second.items()}:
        return math.inf
    apart = 0.0
    for name, tensor in first.items():
        values = np.abs(tensor.read() - second[name].read())
        found = float(values.max(initial=0.0))
        apart = max(apart, math.inf if math.isnan(found) else found)
    return apart


def first_difference(then: pa.Table, now: pa.Table) -> str | None:
    """Where two tables with the same columns differ first, by the row's place and id; None: nowhere."""
    columns = [name for name in then.column_names if name in now.column_names]
    if missing := [name for name in then.column_names if name not in columns]:
        return f"column {missing[0]} is missing"
    batch = 1_000
    for start in range(0, max(then.num_rows, now.num_rows), batch):
        ours, its = (table.select(columns).slice(start, batch).to_pylist() for table in (then, now))
        for at, (one, other) in enumerate(zip(ours, its, strict=False), start=start):
            if one != other:
                differing = next(name for name in columns if one[name] != other[name])
                return f"row {at + 1}{_id_of(one)}: its {differing} differs"
        if len(ours) != len(its):
            at = start + min(len(ours), len(its))
            longer, word = (ours, "missing") if len(ours) > len(its) else (its, "new")
            return f"row {at + 1}{_id_of(longer[at - start])}: it is {word}"
    return None


def _id_of(row: dict[str, object]) -> str:
    name = next((name for name in ("pair_id", "response_id", "node_id", "prompt_id") if row.get(name)), None)
    return f" ({row[name]})" if name else ""
