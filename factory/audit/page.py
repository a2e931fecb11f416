"""An audit as one HTML page: nothing is loaded from elsewhere, and everything that came from rows is escaped."""

from html import escape
from pathlib import Path
from string import Template

from factory.audit.audit import Report, summary_of
from factory.audit.finding import Bars, Finding
from schemas.streams import visible

_PAGE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
_BAR, _ROOM, WIDTH = 18, 190, 520
"""height of a bar's line, width of the labels, and of the whole plot, in pixels"""


def page_of(report: Report) -> str:
    """The page's text."""
    row = report.training_set
    rows = f"{row.train_rows:,} rows to train on, {row.held_out_rows:,} held out; snapshot {row.snapshot}; {row.format}"
    statuses = ("fail", "warn", "pass", "not applicable")
    return _PAGE.substitute(
        title=_safe(f"Audit of {report.reference}"),
        rows=_safe(rows),
        fingerprint=_safe(row.fingerprint),
        summary=_safe(summary_of(report)),
        against=_safe(", ".join(f"{b.name} ({b.version[:12]})" for b in report.benchmarks) or "none"),
        counts="".join(_badge(status, f"{report.count(status)} {status}") for status in statuses),
        lines="".join(map(_line, report.findings)),
        findings="".join(
            _section(found) for status in statuses[:3] for found in report.findings if found.status == status
        ),
    )


def _safe(text: object) -> str:
    return escape(visible(str(text)), quote=True)


def _badge(status: str, text: str) -> str:
    return f'<span class="{status.partition(" ")[0]}">{_safe(text)}</span> '


def _line(found: Finding) -> str:
    measured = found.measured
    figure = _safe(measured.why_not) if measured.figure is None else f"{measured.figure:.4g}"
    interval = "" if measured.low is None or measured.high is None else f"{measured.low:.3f} to {measured.high:.3f}"
    name = _safe(found.name)
    link = name if measured.figure is None else f'<a href="#{name}">{name}</a>'
    bound = f"{'≤' if found.most else '≥'} {found.threshold:g}"
    cells = f"<td>{link}</td><td>{_badge(found.status, found.status)}</td>"
    if measured.figure is None:
        return f'<tr>{cells}<td colspan="3" class="why">{figure}</td></tr>\n'
    return f"<tr>{cells}<td class=n>{figure}</td><td class=n>{interval}</td><td class=n>{bound}</td></tr>\n"


def _section(found: Finding) -> str:
    detail = "".join(
        f"<tr><td>{_safe(k)}</td><td class=n>{_safe(v)}</td></tr>" for k, v in found.measured.detail.items()
    )
    examples = ", ".join(f"<code>{_safe(id)}</code>" for id in found.measured.examples)
    return (
        f'<section id="{_safe(found.name)}"><h2>{_badge(found.status, found.status)}{_safe(found.name)}</h2>'
        f"<p>{_safe(found.about)}</p>"
        + (f"<table>{detail}</table>" if detail else "")
        + (f"<p>Rows: {examples}</p>" if examples else "")
        + "".join(map(_plot, found.measured.plots))
        + "</section>\n"
    )


def _plot(bars: Bars) -> str:
    title = _safe(bars.title)
    drawn, height = drawing(bars)
    return (
        f'<figure><figcaption>{title}</figcaption><svg role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}">{drawn}</svg></figure>'
    )


def drawing(bars: Bars) -> tuple[str, int]:
    """Horizontal bars from `middle`, with their intervals as lines: the inside of an SVG `WIDTH` wide, and its height."""
    ends = [*bars.values, *bars.lows, *bars.highs, bars.middle]
    low, high = min(ends), max(ends)
    scale = (WIDTH - _ROOM - 70) / ((high - low) or 1)

    def across(value: float) -> float:
        return _ROOM + (value - low) * scale

    height = _BAR * len(bars.values) + 8
    drawn = []
    for place, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        top = place * _BAR + 4
        left, right = sorted((across(bars.middle), across(value)))
        drawn.append(f'<text x="{_ROOM - 6}" y="{top + 12}" text-anchor="end">{_safe(label[:28])}</text>')
        drawn.append(f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 0.5):.1f}" height="{_BAR - 4}"/>')
        if bars.lows:
            middle = top + (_BAR - 4) / 2
            drawn.append(
                f'<line x1="{across(bars.lows[place]):.1f}" x2="{across(bars.highs[place]):.1f}" y1="{middle}" y2="{middle}"/>'
            )
        beside = max(right, across(bars.highs[place]) if bars.highs else 0) + 5
        drawn.append(f'<text x="{beside:.1f}" y="{top + 12}">{value:.3g}</text>')
    return "".join(drawn), height
