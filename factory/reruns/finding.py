"""What a word on the command line means: a training or a run, by an id, the beginning of one, or a model's name."""

import difflib
from pathlib import Path

from schemas.errors import FactoryError, nearest
from schemas.tables import TrainingRun
from stores.lake import Lake

_TRAININGS = """
SELECT DISTINCT t.training_run_id
FROM training_runs AS t
LEFT JOIN models AS m USING (training_run_id)
WHERE starts_with(t.training_run_id, $given) OR t.output = $given OR m.name = $given OR starts_with(m.model_id, $given)
ORDER BY 1
"""


def find_training_run(lake: Lake, given: str) -> TrainingRun:
    """The training with this id (or the beginning of one), or that made the model of this name, id or folder.

    Raises:
        FactoryError: there is none, or more than one; it names those that are nearest.
    """
    found = trainings_like(lake, given)
    if len(found) == 1:
        [row] = lake.read(TrainingRun, "training_run_id = $id", {"id": found[0]})
        return row
    where = f"lake {lake.place.where}"
    if found:
        raise FactoryError(f"{given!r} could be trainings {', '.join(found[:5])} of {where}: give one of these ids")
    known = lake.query(
        "SELECT name FROM models WHERE training_run_id IS NOT NULL UNION SELECT name || '@' || version FROM training_sets "
        "UNION SELECT training_run_id FROM training_runs UNION SELECT run_id FROM current_runs ORDER BY 1"
    )
    names = [str(name) for name in known.column(0).to_pylist()]
    if given in names:
        what = "a training set" if "@" in given else "a run"
        raise FactoryError(
            f"{given} of {where} is {what}: give a model's name or a training's id, which has one training set"
        )
    near = difflib.get_close_matches(given, names, 3, 0.3)
    advice = nearest(given, near, "the nearest are") if near else "`factory sql 'FROM models'` lists what it has"
    raise FactoryError(f"{where} has nothing called {given[:80]!r}: {advice if names else 'it is empty'}")


def trainings_like(lake: Lake, given: str) -> list[str]:
    """Ids of the trainings that the word, or the last name of a path, may mean."""
    given = Path(given).name if "/" in given else given
    ids: list[str] = lake.query(_TRAININGS, {"given": given}).column(0).to_pylist() if given else []
    return ids


def runs_like(lake: Lake, given: str) -> list[str]:
    """Ids of the runs that begin so."""
    text = "SELECT run_id FROM current_runs WHERE starts_with(run_id, $given) ORDER BY started_at"
    ids: list[str] = lake.query(text, {"given": given}).column(0).to_pylist() if given else []
    return ids
