"""What an online training paid its policy's answers: over its steps as a plot, before and after it, and at both ends."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.view.asking import query
from factory.view.given import address_part
from factory.view.plots import Line, line
from factory.view.showing import Href, Shown
from stores.lake import Lake
from stores.sql import sql

PARTS = 48
"""dots of the plot at most: more steps are put together"""
AT_EACH_END = 10
"""answers shown of the best paid, and of the worst paid"""


@dataclass(frozen=True, slots=True)
class Rewards:
    """The rewards of an online training's run."""

    training: dict[str, Any] | None
    """objective, status, reason, base_model, training_set, output; None: it has not ended"""
    answers: int
    paid: int
    before: float | None
    after: float | None
    """mean rewards of answers to held-out prompts; None: there are none yet, or none was paid"""
    parts: pa.Table
    """rows of report/rewards.sql"""


def read_rewards(lake: Lake, run_id: str) -> Rewards:
    """What a run of purpose `training` paid."""
    parts = lake.query(sql("report/rewards"), {"run_id": run_id, "parts": PARTS})
    rows = parts.to_pylist()
    means = {row["stage"]: row["mean"] for row in rows}
    training = query(lake, "run_training", {"training": run_id.removeprefix("online-")}).to_pylist()
    return Rewards(
        next(iter(training), None),
        sum(row["answers"] for row in rows),
        sum(row["paid"] for row in rows),
        means.get("before"),
        means.get("after"),
        parts,
    )


def rewards_plot(found: Rewards) -> Line | None:
    """The mean reward over the steps between the lowest and the highest; None: there are fewer than two steps."""
    rows = [row for row in found.parts.to_pylist() if row["step"]]
    return line(
        "mean reward over the steps, between the lowest and the highest",
        [row["mean"] for row in rows],
        [row["stage"] for row in rows],
        least=None,
        spans=[(row["lowest"], row["highest"]) for row in rows],
    )


def rewards_tables(lake: Lake, run_id: str, found: Rewards) -> list[Shown]:
    """The plot's figures, and the answers that were paid best and worst."""
    ends = query(lake, "paid_answers", {"run_id": run_id, "most": AT_EACH_END})
    links: dict[str, Href] = {
        "prompt_id": lambda row: f"/prompt/{address_part(row['prompt_id'])}?run={address_part(run_id)}"
    }
    return [
        Shown("rewards", found.parts, caption="Rewards over the steps"),
        Shown("paid_answers", ends, links, "The answers that were paid best and worst"),
    ]
