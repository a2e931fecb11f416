"""Documents: imported once, cut into passages, found by BM25 as worked out by hand."""

import gzip
import json
from math import log
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from factory.documents.searching import index_documents, passages_of, words_of
from schemas.ids import content_id, sha256_text
from schemas.tables import Document
from stores.lake import Lake
from tests.command_line import told
from tests.rows import fill

ROWS = [
    {"title": "Elbe", "text": "The Elbe is a river."},
    {"text": "Bread is food."},
    {"title": "Nothing", "text": " "},
]


def lines(file: Path) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture
def lake_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_LAKE", str(tmp_path / "lake"))
    return tmp_path / "lake"


def test_documents_are_imported_once(tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(tmp_path / "facts.jsonl")
    words = ("documents", file, "--licence", "CC0-1.0")
    assert told(capsys, *words) == (0, "facts: 2 documents, 2 new; 1 row without a text left out\n", "")
    assert told(capsys, *words) == (0, "facts: 2 documents, all there before; 1 row without a text left out\n", "")
    with Lake.open(lake_at) as lake:
        snapshot = lake.latest_snapshot()
        found = {document.title: document for document in lake.read(Document)}
    text = "The Elbe is a river."
    assert found["Elbe"] == Document(
        document_id=content_id("document", "facts", "Elbe", text), source="facts", title="Elbe", text=text,
        sha256=sha256_text(text), licence="CC0-1.0",
    )  # fmt: skip
    assert set(found) == {"Elbe", None}
    code, out, _ = told(capsys, "documents")
    assert code == 0 and out.splitlines()[2].split() == ["facts", "CC0-1.0", "2", "8"]
    with Lake.open(lake_at) as lake:
        assert lake.latest_snapshot() == snapshot


def test_every_kind_of_file_can_be_a_corpus(tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "many"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "packed", "title": "one"}\n'))
    (folder / "b.csv").write_text("title,text\ntwo,of a table\n")
    pa.parquet.write_table(pa.table({"text": ["of Parquet"], "title": ["three"]}), folder / "c.parquet")
    (folder / "deep" / "d.md").write_text("# Four\n\nof Markdown\n")
    (folder / "deep" / "five.txt").write_text("of text\n")
    (folder / "left.pdf").write_text("not read")
    assert told(capsys, "documents", folder)[1] == "many: 5 documents, 5 new\n"
    with Lake.open(lake_at) as lake:
        rows = {document.title: document.text for document in lake.read(Document)}
    assert rows == {
        "one": "packed", "two": "of a table", "three": "of Parquet", "Four": "# Four\n\nof Markdown", "five": "of text",
    }  # fmt: skip


def test_columns_and_the_source_can_be_named(tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("body;name\nhello;first\n")
    words = ("--source", "mine", "-c", "text=body", "-c", "title=name")
    assert told(capsys, "documents", tmp_path / "a.csv", *words)[1] == "mine: 1 document, 1 new\n"
    with Lake.open(lake_at) as lake:
        (row,) = lake.read(Document)
    assert (row.source, row.title, row.text) == ("mine", "first", "hello")


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ('{"body": "x"}', (), "line 1: there is no column 'text', only body: name the right one, as in -c text=body"),
        ('{"text": 7}', (), "line 1: text must be text, got 7"),
        ('{"text": "x", "title": [1]}', (), "line 1: title must be text, got [1]"),
        ('{"text": "x"}', ("-c", "title=name"), "line 1: there is no column 'name', only text"),
        ('{"text": "x"}', ("-c", "txt=body"), "-c: unknown column 'txt': did you mean 'text'?"),
        ('["x"]', (), "line 1: a line must be a JSON object whose keys are the columns"),
        ('{"text": "a\\ud800"}', (), "line 1: text has half a surrogate pair"),
        ("{", (), "line 1: this is one JSON text over several lines"),
    ],
)
def test_a_faulty_corpus_is_refused_and_nothing_is_imported(
    tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str], content: str, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(content + "\n")
    code, out, errors = told(capsys, "documents", tmp_path / "bad.jsonl", lines(tmp_path / "good.jsonl"), *words)
    assert code == 1 and out == "" and said in " ".join(errors.split()) and "Traceback" not in errors
    assert not lake_at.exists()


def test_missing_files_and_other_licences_are_refused(
    tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no file none.jsonl: give a file that ends in .jsonl" in told(capsys, "documents", "none.jsonl")[2]
    (tmp_path / "a.pdf").write_text("")
    assert "a.pdf: give one that ends in" in told(capsys, "documents", tmp_path / "a.pdf")[2]
    (tmp_path / "empty.txt").write_text(" \n")
    assert "empty.txt: there is no document with a text in it" in told(capsys, "documents", tmp_path / "empty.txt")[2]
    assert "there is no lake in" in told(capsys, "documents")[2]
    file = lines(tmp_path / "facts.jsonl")
    told(capsys, "documents", file, "--licence", "CC0-1.0")
    code, _, errors = told(capsys, "documents", file, "--licence", "MIT")
    assert code == 1 and "was imported with the licence CC0-1.0, and rows are never changed" in errors
    assert told(capsys, "documents", file)[0] == 0


# Passages


def test_a_text_is_cut_into_equal_passages() -> None:
    assert passages_of("one two  three\nfour five", 2) == ["one two", "three", "four five"]
    assert passages_of("one two", 2) == ["one two"]
    assert [len(part.split()) for part in passages_of("word " * 250, 100)] == [83, 84, 83]
    assert [len(part) for part in passages_of("字" * 300, 100)] == [150, 150]  # two characters for a word


def test_words_are_compared_without_case_and_characters_one_by_one_without_spaces() -> None:
    assert words_of("The Elbe, 1094 km: ÉTÉ_x 长江 is") == ["the", "elbe", "1094", "km", "été_x", "长", "江", "is"]


def document(id: str, text: str, title: str | None = None) -> Document:
    return Document(document_id=id, source="s", title=title, text=text, sha256=sha256_text(text), licence=None)


def test_passages_are_found_by_bm25(lake: Lake) -> None:
    fill(lake, document("d1", "elbe elbe river"), document("d2", "elbe"), document("d3", "bread", "of wheat"))
    found = index_documents(lake, None, 100).search("Elbe, river! Elbe?", 5)
    # N = 3; 'elbe' is in 2 passages and 'river' in 1; lengths 3, 1 and 3 ('of wheat bread'), 7/3 on average.
    elbe, river = log(1 + (3 - 2 + 0.5) / (2 + 0.5)), log(1 + (3 - 1 + 0.5) / (1 + 0.5))

    def norm(length: int) -> float:
        return 1.2 * (1 - 0.75 + 0.75 * length / (7 / 3))

    first, second = elbe * 2 / (2 + norm(3)) + river * 1 / (1 + norm(3)), elbe * 1 / (1 + norm(1))
    assert [(one.passage.document_id, one.score) for one in found] == [
        ("d1", pytest.approx(first, abs=1e-4)), ("d2", pytest.approx(second, abs=1e-4)),
    ]  # fmt: skip
    assert (round(first, 4), round(second, 4)) == (0.6711, 0.2788)


def test_the_best_passages_come_first_and_equal_ones_in_the_order_of_documents(lake: Lake) -> None:
    fill(lake, *(document(f"d{i}", "same words") for i in range(5)), document("d9", "words other text here", "Title"))
    corpus = index_documents(lake, "s", 100)
    assert [one.passage.document_id for one in corpus.search("words", 3)] == ["d0", "d1", "d2"]
    assert [one.passage.text for one in corpus.search("title", 3)] == ["Title\nwords other text here"]
    assert corpus.search("nothing of this", 3) == [] == corpus.search("", 3)
    assert len(corpus.search("words", 50)) == 6
    assert corpus.note.startswith("6 passages of 6 documents indexed in ")


def test_the_best_of_many_passages_are_those_of_a_sort(lake: Lake) -> None:
    texts = [" ".join(f"w{number % (3 + i)}" for number in range(1 + i % 7)) for i in range(2000)]
    fill(lake, *(document(f"d{i:04}", text) for i, text in enumerate(texts)))
    corpus = index_documents(lake, None, 100)
    for most in (1, 3, 8, 50):
        scores = corpus.index.get_scores(["w0", "w2", "w5"])
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:most]
        assert [one.passage.document_id for one in corpus.search("w0 w2 w5", most)] == [f"d{i:04}" for i in order]


def test_a_folder_s_texts_are_not_links_to_files_elsewhere(
    tmp_path: Path, lake_at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("The key is 7.")
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mine.md").write_text("# Elbe\nThe Elbe is a river.")
    (folder / "also.txt").symlink_to("mine.md")
    assert told(capsys, "documents", folder)[0] == 0
    (folder / "facts.txt").symlink_to("../secret")
    code, _, errors = told(capsys, "documents", folder, "--source", "other")
    assert code == 1 and "facts.txt is a link to a file outside the folder" in errors
    assert told(capsys, "documents", folder / "facts.txt")[0] == 0  # named by the user


@pytest.mark.parametrize(("name", "packed"), [("a.jsonl.gz", b" " * 5_000), ("a.txt", b"ab\n" * 2_000)])
def test_a_small_file_that_holds_gigabytes_is_not_unpacked(
    tmp_path: Path,
    lake_at: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    packed: bytes,
) -> None:
    monkeypatch.setattr("factory.prompts.packing.MOST_AT_ONCE", 4_000)
    (tmp_path / name).write_bytes(gzip.compress(packed))
    code, _, errors = told(capsys, "documents", tmp_path / name)
    assert code == 1 and "has more than 4,000" in errors and not lake_at.exists()
