"""One HTML page with tables and pictures inside; opens from a file, needs nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ddd}}
td{{vertical-align:top}}img{{max-width:100%}}</style>
<h1>{title}</h1>
{body}</html>
"""


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """Write a page; sections are HTML, from `heading`, `table`, `paragraph` and `histogram`."""
    path.write_text(_PAGE.format(title=html.escape(title), body="\n".join(sections)), encoding="utf-8")


def heading(text: str) -> str:
    """A section's title."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Plain text."""
    return f"<p>{html.escape(text)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Cells are shown as text; numbers with a fraction get two digits behind the point."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def histogram(values: Mapping[str, Sequence[float]], label: str) -> str:
    """A picture of how values are distributed, one line of bars per name."""
    from matplotlib.figure import Figure

    shown = {name: list(row) for name, row in values.items() if len(row)}
    if not shown:
        return paragraph("nothing to show")
    figure = Figure(figsize=(9, 1.6 * len(shown)), layout="constrained")
    for axes, (name, row) in zip(figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0], shown.items()):
        axes.hist(row, bins=60)
        axes.set_ylabel(name, rotation=0, ha="right")
    axes.set_xlabel(label)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    data = base64.b64encode(picture.getvalue()).decode()
    return f'<p><img alt="{html.escape(label)}" src="data:image/png;base64,{data}"></p>'
