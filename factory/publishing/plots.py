"""The audit's plots as SVG files of their own."""

from pathlib import Path

from factory.audit.audit import Report
from factory.audit.finding import Bars
from factory.audit.page import WIDTH, drawing
from factory.publishing.card import Plot
from schemas.streams import visible

_STYLE = "text{font:11px sans-serif;fill:#1c1e21}g rect{fill:#4878a8}line{stroke:#1c1e21;stroke-width:1.5}"


def write_plots(report: Report, folder: Path) -> list[Plot]:
    """Writes `plots/NAME.svg` for each plot."""
    found: dict[str, Bars] = {}
    for finding in report.findings:
        for number, bars in enumerate(finding.measured.plots):
            found[finding.name if number == 0 else f"{finding.name}_{number + 1}"] = bars
    (folder / "plots").mkdir(exist_ok=True)
    made = []
    for name, bars in found.items():
        path = f"plots/{name}.svg"
        (folder / path).write_text(svg_of(bars), "utf-8")
        made.append(Plot(path, visible(bars.title)))
    return made


def svg_of(bars: Bars) -> str:
    """A plot as an SVG file, on white: the same in a light and in a dark page."""
    drawn, height = drawing(bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#ffffff"/><g>{drawn}</g></svg>\n'
    )
