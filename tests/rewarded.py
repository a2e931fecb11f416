"""An online training by hand, for tests of what it paid: rows whose rewards can be worked out in the head.

Stages and rewards: before -1; step 1: 1, -1, 0 and one not paid; step 2: 1, 0, 1, 1; after 1.
"""

from typing import Any

from schemas.ids import online_run_id
from schemas.tables import Call, Judgement, Model, Prompt, Response, Run, RunPrompt
from tests.rows import asked, minutes, row

TRAINING = "abcdef0123456789abcdef0123456789"
RUN = online_run_id(TRAINING)
HOSTILE = "<script>alert(1)</script>"
PAID = {
    "before": [("p3", 1.0)],
    "step 1": [("p1", 10.0), ("p1", 1.0), ("p2", 5.5), ("p2", None)],
    "step 2": [("p1", 10.0), ("p1", 5.5), ("p2", 10.0), ("p2", 10.0)],
    "after": [("p3", 10.0)],
}
"""by stage: prompt, and the judge's points of 1 to 10; 5.5 pays 0"""


def online_training(*, text: str = HOSTILE, endpoint: str = "http://10.0.0.7:8000/v1") -> list[Any]:
    """The rows of the run, with its prompts, calls and judge."""
    rows: list[Any] = [
        row(Run, f"{RUN}/0", run_id=RUN, status="finished", recipe_name="online", purpose="training", seed=3,
            recipe=f'{{"name": "online", "trainer": "{{\\"endpoint\\": \\"{endpoint}\\"}}"}}', started_at=minutes(0), ended_at=minutes(5)),
        row(Model, "judge", name="judge-1", origin=endpoint),
    ]  # fmt: skip
    for prompt in ("p1", "p2", "p3"):
        rows += [
            row(Prompt, prompt, messages=asked(f"Say something of {prompt}."), source="mine", licence="CC0-1.0"),
            row(RunPrompt, f"{RUN}/{prompt}", run_id=RUN, prompt_id=prompt),
        ]
    for stage, answers in PAID.items():
        for at, (prompt, points) in enumerate(answers):
            id, of = f"{stage}/{at}", {"run_id": RUN, "prompt_id": prompt}
            rows += [
                row(Response, id, kind="sampled", stage=stage, text=f"{id} {text}", choice_index=at % 2, tokens=3, **of),
                row(Call, f"call {id}", stage="reward", model_id="judge", endpoint=endpoint, messages_hash="h", **of),
                row(Judgement, f"judged {id}", response_id=id, judge="score", kind="score", decides=True, points=points,
                    value=None if points is None else (points - 1) / 9, verdict="unparsed" if points is None else None,
                    model_id="judge", call_id=f"call {id}", critique=f"Score: {points}", **of),
            ]  # fmt: skip
    return rows
