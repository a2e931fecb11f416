"""Makes the README's pictures of `factory view` in headless Chromium.

    python scripts/screenshots.py LAKE docs/images    # LAKE: what `make demo` makes

Needs Chromium (`apt-get install chromium`) and the test packages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import chromium, served

WIDTH, HEIGHT = 1200, 760


def main(lake: str, folder: Path) -> None:
    """Writes overview.png, tree.png and pair.png to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with served(lake) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{address}sql.json?sql=" + "FROM accepted_pairs ORDER BY similarity DESC, pair_id LIMIT 1")
        pair = page.evaluate("JSON.parse(document.body.innerText)[0]")
        page.goto(address)
        page.wait_for_selector("#figures:not([data-load])")
        page.screenshot(path=folder / "overview.png")
        for name, of in (("tree", pair["tree_id"]), ("pair", pair["pair_id"])):
            page.goto(f"{address}{name}/{of}")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
