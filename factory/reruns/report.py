"""What a repetition came out as, in the words that `factory rerun` prints."""

import math

from factory.reruns.environments import in_words
from factory.reruns.lock_file import LockedSet, LockedTraining
from factory.reruns.runs import RepeatedRun
from factory.reruns.training import Repeated

SAME, OTHER = "identical", "different"


def data_line(locked: LockedSet, place: str) -> str:
    count = locked.train_rows + locked.held_out_rows
    return f"data: identical, {count:,} rows of {locked.name}@{locked.version} from {place}, fingerprint {locked.fingerprint[:12]}"


def training_lines(locked: LockedTraining, found: Repeated) -> list[str]:
    """Loss curve, weights, and the verdict last."""
    steps = len(locked.loss_curve)
    if found.loss_difference == 0:
        lines = [f"loss curve: identical, {steps:,} steps"]
    elif math.isinf(found.loss_difference):
        lines = ["loss curve: different, in its length or by values that are no numbers"]
    else:
        lines = [f"loss curve: different, by at most {found.loss_difference:.3g} nats at one of {steps:,} steps"]
    if found.weights_identical:
        lines.append(f"weights: identical, SHA-256 {found.weights_sha256}")
    elif found.weights_identical is False:
        lines.append(f"weights: different, SHA-256 {locked.weights_sha256} then, {found.weights_sha256 or 'none'} now")
        if found.weights_difference is not None:
            lines.append(f"weights: the largest difference is {found.weights_difference:.3g}")
        else:
            lines.append("weights: by how much is not known without the original model's folder (--original FOLDER)")
    return [*lines, SAME if found.identical else f"{OTHER}: {found.reason}"]


def run_lines(found: RepeatedRun) -> list[str]:
    """A line for each table, the machine, and the verdict last."""
    from_journal = found.requests - found.asked
    lines = [f"answers: {from_journal:,} of {found.requests:,} from the journal, {found.asked:,} asked anew"]
    for table in found.tables:
        if not table.differing:
            lines.append(f"{table.table}: identical, {table.same:,} rows")
            continue
        counts = {"changed": table.changed, "missing": table.missing, "new": table.new}
        words = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        lines.append(f"{table.table}: {words}, {table.same:,} identical; the first is {table.first}")
    if found.environment:
        lines.append(f"other than then: {in_words(found.environment)}")
    return [*lines, SAME if found.reason is None else f"{OTHER}: {found.reason}"]
