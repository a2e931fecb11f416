"""The pages on methods: every recipe that trains is listed, every link leads somewhere, every command is one."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from factory.cli.commands import app
from scripts.compare_methods import trained_recipes
from scripts.methods_table import BEGIN, END

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "method.md", DOCS / "methods.md", *sorted((DOCS / "methods").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for block in re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["factory"]:
                options = {option for parameter in commands[words[1]].params for option in parameter.opts}
                given = {word for word in words[2:] if word.startswith("-") and word != "-"}
                assert given <= options, line


def test_the_list_has_every_recipe_that_trains_and_room_for_the_figures() -> None:
    page = (DOCS / "methods.md").read_text("utf-8")
    assert set(trained_recipes()) == set(
        re.findall(r"^\| `(\w+)` \|.*\|.*\|.*\|.*\|$", page.split("## Measured")[0], re.MULTILINE)
    )
    assert page.index(BEGIN) < page.index(END)
