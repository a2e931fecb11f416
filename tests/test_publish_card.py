"""The card: every number in its prose is one of the rows', nothing of a row is markup, the Hub finds what it looks for."""

import json
import re
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt  # rich's

from factory.audit.audit import Options, audit_training_set
from factory.publishing.licences import hub_identifier, licence_of_model, together
from factory.publishing.lineage import PRIVATE, without_addresses
from factory.publishing.rendering import code, escaped
from schemas.tables import Evaluation, Judgement, Model
from stores.lake import Lake
from stores.likeness import words
from stores.training_sets import build_training_set, find_training_set, read_training_set
from tests.publications import LICENCES
from tests.publications import Run as Command
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import own_lake as own_lake
from tests.publications import run as run
from tests.publications import spar_lake as spar_lake
from tests.rows import NOON, row
from tests.test_audit_page import Seen

HOSTILE = "<script>alert(1)</script> [x](javascript:alert(2)) | `a` ![](http://evil.example/x.png)\n# Head {{ 7*7 }} www.evil.example"
OF_THE_TEMPLATE = {"95%", "8", "256", "1.", "1", "0"}
"""numbers in the template's own words: 95% interval, 8-grams, SHA-256, list items, 'a conversation of 1 turn'"""


def card_of(lake: Path, against: str, run: Command, out: Path, *more: str) -> str:
    code, _, err = run(
        "publish",
        "spar_dpo@1",
        "user/spar-dpo",
        "--lake",
        lake,
        "--against",
        against,
        *LICENCES,
        "--dry-run",
        out,
        *more,
    )
    assert code == 0, err
    return (out / "README.md").read_text("utf-8")


def prose_of(card: str) -> str:
    """The card without metadata, code, addresses and names of files."""
    text = card.partition("---\n")[2].partition("---\n")[2]
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|arXiv:[\d.]+|&#\d+;|(?i:apache-2\.0)", "", text)
    return "\n".join(line for line in text.splitlines() if not line.startswith((">", "1. ", "![")))


def numbers_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)*(?:e-\d+)?%?", text))


@pytest.fixture
def measured_lake(own_lake: Path) -> Path:
    """With a second judge and with what was measured of the judging model."""
    with Lake.open(own_lake, create=True) as lake:
        model = lake.read(Model, "name = 'mock'")[0]
        figures = {
            "agreement": (0.8125, 0.701, 0.889),
            "position_bias": (0.3333, 0.21, 0.47),
            "length_bias": (0.625, 0.5, 0.74),
        }
        lake.append(
            [row(Evaluation, metric, model_id=model.model_id, role="judge", benchmark="judge", metric=metric, value=value,
                 low=low, high=high, examples=64, prompts_hash="h", recorded_at=NOON)
             for metric, (value, low, high) in figures.items()],
            message="measured",
        )  # fmt: skip
    return own_lake


def test_every_number_in_the_prose_is_one_of_the_rows(
    measured_lake: Path, against: str, run: Command, tmp_path: Path
) -> None:
    card = card_of(measured_lake, against, run, tmp_path / "out")
    with Lake.open(measured_lake) as lake:
        expected = expected_numbers(lake, against)
    prose = prose_of(card)
    unknown = numbers_in(prose) - expected - OF_THE_TEMPLATE
    assert not unknown, {n: [line for line in prose.splitlines() if n in line] for n in unknown}
    for sentence in (
        "8 preference pairs for preference tuning (DPO): 6 to train on and 2 held out, over 8 distinct prompts.",
        "| bundled&#58;v1 | Apache-2.0 | 8 | 8 | 100.0% |",
        "| mock | judge | agreement | 0.8125 | 0.701 to 0.889 | 64 |",
        "| mock | judge | position\\_bias | 0.3333 | 0.210 to 0.470 | 64 |",
        "- overlap with an evaluation set: 2 rows, in the config `removed`",
        "factory rerun spar_dpo.lock.yaml --data user/spar-dpo\n",
        "pip install 'preference-factory[train]==0.1.0'\n",
        "`docs/method.md` of preference-factory describes the steps",
    ):
        assert sentence in card or sentence.replace("&#58;", ":") in card, sentence


def expected_numbers(lake: Lake, against: str) -> set[str]:
    """All figures a card may show, computed here from the rows."""
    set_row = find_training_set(lake, "spar_dpo@1")
    built = read_training_set(lake, "spar_dpo@1")
    rows = built.train.to_pylist() + built.held_out.to_pylist()
    run_ids = json.loads(set_row.parameters)["run_ids"]
    prompts = {one["prompt_id"] for one in rows}
    given = {"runs": run_ids, "prompts": sorted(prompts)}
    within = "list_contains($runs, run_id) AND list_contains($prompts, prompt_id)"

    def asked(text: str) -> list[Any]:
        return [value for found in lake.query(text, given).to_pylist() for value in found.values()]

    counts: list[Any] = [len(rows), set_row.train_rows, set_row.held_out_rows, len(prompts), set_row.snapshot]
    counts += asked(
        f"SELECT count(*), count(*) FILTER (outcome = 'accepted'), sum(nodes_expanded)::BIGINT FROM trees WHERE {within}"
    )
    counts += asked(f"SELECT count(*), count(DISTINCT response_id) FROM judgements WHERE {within}")
    counts += asked(f"SELECT count(*) FROM calls WHERE {within}")
    counts += asked(
        "SELECT count(*) FROM prompts WHERE list_contains($prompts, prompt_id) AND len($runs) > 0 GROUP BY language"
    )
    counts += [len(json.loads(set_row.parameters)["excluded_prompts"])]
    shown = {f"{count:,}" for count in counts}
    figures: list[float] = []
    for name in ("prompt", "chosen", "rejected"):
        lengths = [len(words(" ".join(turn["content"] for turn in one[name]))) for one in rows]
        figures += [fmean(lengths), median(lengths)]
        shown.add(f"{max(lengths):,}")
    figures += [fmean(one[name] for one in rows) for name in ("similarity", "length_ratio", "shared_prefix_words")]
    shown |= {"0.7", "0.9"}  # temperatures of the recipe's judge and actor
    shown |= {"100.0%", str(set_row.version), "0.1.0"}
    shown |= numbers_in(set_row.created_at.strftime("%Y %m %d %H %M"))
    shown |= numbers_in(set_row.created_at.strftime("%Y-%m-%d %H:%M"))
    report = audit_training_set(lake, "spar_dpo@1", Options({}, against=(against,))).plain()
    for check in report["checks"]:
        figures += [check["threshold"]] + ([] if check["figure"] is None else [check["figure"]])
        shown |= numbers_in(check["why_not"] or "")
        if check["low"] is not None:
            shown |= {f"{check['low']:.3f}", f"{check['high']:.3f}"}
    for one in lake.read(Evaluation):
        figures.append(one.value or 0)
        shown |= {f"{one.low:.3f}", f"{one.high:.3f}", f"{one.examples:,}"}
    return shown | {f"{figure:.4g}" for figure in figures}


def test_a_number_that_is_not_of_the_rows_would_be_found(measured_lake: Path, against: str) -> None:
    with Lake.open(measured_lake) as lake:
        expected = expected_numbers(lake, against)
    assert numbers_in("We made 271,409 rows, 12.7% of 3.") - expected - OF_THE_TEMPLATE == {"271,409", "12.7%", "3"}


def test_the_metadata_is_what_the_hub_searches_and_loads(
    spar_lake: Path, against: str, run: Command, tmp_path: Path
) -> None:
    card = card_of(spar_lake, against, run, tmp_path / "out", "--with-lineage")
    found = yaml.safe_load(card.partition("---\n")[2].partition("---\n")[0])
    assert found["license"] == "apache-2.0" and found["language"] == ["en", "zh"]
    assert found["size_categories"] == ["n<1K"] and found["task_categories"] == ["text-generation"]
    assert {"preference", "dpo", "synthetic", "trl", "preference-factory", "spar"} <= set(found["tags"])
    configs = {one["config_name"]: one for one in found["configs"]}
    assert configs["default"]["default"] is True and found["configs"][0]["config_name"] == "default"
    assert [one["split"] for one in configs["default"]["data_files"]] == ["train", "test"]
    assert {
        "removed",
        "prompts",
        "responses",
        "trees",
        "nodes",
        "judgements",
        "calls",
        "runs",
        "models",
        "pairs",
    } <= set(configs)
    for config in configs.values():
        for files in config["data_files"]:
            assert list((tmp_path / "out").glob(files["path"])), files
    from huggingface_hub import DatasetCard

    assert DatasetCard(card).data.license == "apache-2.0"  # the Hub's own reader takes it
    cff = yaml.safe_load((tmp_path / "out" / "CITATION.cff").read_text("utf-8"))
    assert cff["cff-version"] == "1.2.0" and cff["title"] == "spar_dpo, version 1"


def test_nothing_of_a_row_is_markup_in_the_card(own_lake: Path, against: str, run: Command, tmp_path: Path) -> None:
    with Lake.open(own_lake, create=True) as lake:
        set_row = find_training_set(lake, "spar_dpo@1")
        (run_id,) = json.loads(set_row.parameters)["run_ids"]
        prompt = read_training_set(lake, "spar_dpo@1").train.column("prompt_id")[0].as_py()
        response = (
            lake.query("SELECT response_id FROM responses WHERE prompt_id = $p", {"p": prompt}).column(0)[0].as_py()
        )
        lake.append(
            [row(Judgement, "odd", run_id=run_id, prompt_id=prompt, response_id=response, judge=HOSTILE, kind="votes",
                 decides=False, verdict="yes", value=1.0, model_id="odd-model"),
             row(Model, "odd-model", name=HOSTILE, origin="http://10.0.0.7:8000/v1")],
            message="odd",
        )  # fmt: skip
        build_training_set(lake, "spar_dpo", {"held_out": 0.2}, [run_id])
    out = tmp_path / "out"
    code_, _, err = run(
        "publish", "spar_dpo", "user/x", "--lake", own_lake, "--against", against, *LICENCES, "--dry-run", out,
        "--model-licence", f"{HOSTILE}=MIT", "--with-lineage",
    )  # fmt: skip
    assert code_ == 0, err
    card = (out / "README.md").read_text("utf-8")
    # As a reader's Markdown has it, HTML and tables included.
    page = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(card.partition("---\n")[2].partition("---\n")[2])
    )
    seen = Seen()
    seen.feed(page)
    assert "table" in seen.tags and "script" not in seen.tags
    places = [str(value) for name, value in seen.attributes if name in ("href", "src")]
    assert len(places) > 5 and not [place for place in places if "evil" in place or place.startswith("javascript")]
    assert "http://evil" not in card and "www.evil" not in card and "<h1>Head" not in page
    assert len(re.findall("&lt;script&gt;", page)) >= 2
    everything = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert b"10.0.0.7" not in everything and b"127.0.0.1" not in everything and str(own_lake).encode() not in everything


def test_texts_of_rows_are_escaped_on_one_line() -> None:
    assert escaped("a|b*c_d\ne") == "a\\|b\\*c\\_d e"
    assert "\x1b" not in escaped("\x1b[31m") and "\u202e" not in escaped("\u202eabc")
    assert code("a`b\n```") == "a'b '''"
    assert escaped("see https://x.example") == "see https&#58;//x.example"


def test_addresses_of_private_networks_are_replaced_and_public_ones_kept() -> None:
    given = '["http://10.1.2.3:8000/v1","https://api.openai.com/v1","http://gpu-box/v1","http://a.local","http://localhost:1"]'
    assert json.loads(without_addresses(given)) == [PRIVATE, "https://api.openai.com/v1", PRIVATE, PRIVATE, PRIVATE]


@pytest.mark.parametrize(
    ("licences", "identifiers", "name"),
    [
        ({"Apache-2.0"}, ("apache-2.0",), None),
        ({"CC0-1.0", "Apache-2.0"}, ("apache-2.0",), None),
        ({"CC0-1.0"}, ("cc0-1.0",), None),
        ({"CC-BY-4.0", "Apache-2.0"}, ("apache-2.0", "cc-by-4.0"), None),
        ({"ODC-BY-1.0"}, ("odc-by",), None),
        ({"My Own 1.0"}, ("other",), "my-own-1.0"),
        ({"MIT", None}, ("unknown",), None),
        (set(), ("unknown",), None),
    ],
)
def test_a_licence_is_worked_out_from_all_that_went_in(
    licences: set[str | None], identifiers: tuple[str, ...], name: str | None
) -> None:
    found = together(licences)
    assert (found.identifiers, found.name) == (identifiers, name)


def test_models_licences_are_known_by_name_or_given() -> None:
    assert licence_of_model("smollm2-135m", {}) == "Apache-2.0"
    assert licence_of_model("Qwen/Qwen2.5-7B-Instruct", {}) == "Apache-2.0"
    assert licence_of_model("meta-llama/Llama-3.1-8B", {}) == "llama3.1" == hub_identifier("llama3.1")
    assert licence_of_model("gpt-4o", {}) is None and licence_of_model("gpt-4o", {"gpt-4o": "other"}) == "other"


def test_the_example_card_has_the_parts_that_a_card_has_today() -> None:
    root = Path(__file__).parents[1]
    template = (root / "factory" / "publishing" / "templates" / "dataset_card.jinja").read_text("utf-8")
    example = (root / "docs" / "example-card.md").read_text("utf-8")
    parts = re.findall(r"^## .*$", template, re.MULTILINE)
    assert len(parts) > 10 and re.findall(r"^## .*$", example, re.MULTILINE) == parts
    assert "of a run of the recipe `demo`" in example.splitlines()[0]
    for plot in re.findall(r"\]\((example-card/[^)]+)\)", example):
        assert (root / "docs" / plot).read_text("utf-8").startswith("<svg ")
