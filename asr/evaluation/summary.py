"""One page about a run: results, export, curves; opens from a file, needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.evaluation.report import Report, load_report, search_name
from asr.evaluation.waits import latency_rows

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ddd}}
img{{max-width:100%}}pre{{background:#f6f6f6;padding:1rem;overflow:auto}}</style>
<h1>{title}</h1>
<table>{rows}</table>
{pictures}
{examples}
<h2>Environment</h2><table>{environment}</table>
<h2>Configuration</h2><pre>{config}</pre></html>
"""


class Row(NamedTuple):
    """One line of the summary."""

    what: str
    value: str


def summary_rows(run_dir: Path, reports: Sequence[Report]) -> list[Row]:
    """What a run reached, in words; what is missing is left out."""
    rows = [row for report in reports for row in _report_rows(report)]
    metrics = read_metrics(run_dir)
    if trained := [line for line in metrics if line["kind"] == "train"]:
        last = trained[-1]
        rows.append(
            Row("training", f"{last['step']} steps, {last['cpu_s']:.0f} CPU seconds, {last['hours']:.1f} h heard")
        )
    if (model := run_dir / "averaged.safetensors").exists():
        rows.append(Row("model", f"{model.stat().st_size / 1e6:.1f} MB, {model}"))
    for path in sorted(run_dir.glob("export-*/export.json")):
        rows += _export_rows(json.loads(path.read_text(encoding="utf-8")))
    return rows


def _report_rows(report: Report) -> list[Row]:
    counts, settings = report.counts, report.settings
    chunk, left = settings.get("chunk_size") or "whole", settings.get("left_context") or "all"
    search = f"{search_name(report)} {chunk}/{left}"
    rate = (
        f"{100 * counts.rate:.2f} % ({100 * report.interval.low:.2f}–{100 * report.interval.high:.2f}), "
        f"S/D/I {counts.substitutions}/{counts.deletions}/{counts.insertions} of {counts.reference_words}"
    )
    found = latency_rows(report.latency, report.delays, report.speed)
    waits = [Row(f"{report.name}, {search}: {what}", figures) for what, figures in found]
    return [Row(f"{report.name}, {search}: WER", rate), *waits]


def _export_rows(export: dict[str, Any]) -> list[Row]:
    rows = [Row("exported", f"{export['bytes'] / 1e6:.1f} MB, {export['folder']}")]
    if checked := export.get("verified"):
        every = checked["utterances"]
        agreed = f"graphs {checked['graphs_equal']}/{every}, sherpa-onnx from audio {checked['client_equal']}/{every}"
        rows.append(Row("same tokens as the library", agreed))
    if twins := export.get("verified_8_bit"):
        rows.append(
            Row("same tokens as the library, 8-bit", f"{100 * twins['agreement']:.1f} %, sherpa-onnx from audio")
        )
    return rows


def read_reports(run_dir: Path) -> list[Report]:
    """The decoding reports of a run, by file name."""
    return [load_report(path) for path in sorted((run_dir / "results").glob("*.json"))]


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line cut short by a crash is passed over."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def write_page(run_dir: Path, rows: Sequence[Row]) -> Path:
    """Write `report.html` into the run's folder."""
    cells = "".join(f"<tr><th>{html.escape(row.what)}</th><td>{html.escape(row.value)}</td></tr>" for row in rows)
    config = run_dir / "config.yaml"
    pictures = [_curves(read_metrics(run_dir)), *(path.read_bytes() for path in sorted(run_dir.glob("*.png")))]
    page = _PAGE.format(
        title=html.escape(f"Rill: {run_dir.name}"),
        rows=cells,
        pictures="".join(map(_picture, filter(None, pictures))),
        examples=_examples(run_dir / "examples.json"),
        environment=_environment(run_dir / "starts.jsonl"),
        config=html.escape(config.read_text(encoding="utf-8") if config.exists() else ""),
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _picture(data: bytes) -> str:
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>'


def _examples(path: Path) -> str:
    """References beside what was recognised, from the last validation."""
    if not path.exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    cells = "".join(
        f"<tr><td>{html.escape(reference)}</td><td>{html.escape(hypothesis)}</td></tr>"
        for reference, hypothesis in found["pairs"]
    )
    heading = f"<h2>Dev set, at step {found['step']}</h2><table><tr><th>reference</th><th>recognised</th></tr>"
    return f"{heading}{cells}</table>"


def _environment(path: Path) -> str:
    """What the run was started with: the last time, and where the others began."""
    starts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if not starts:
        return ""
    rows = {**starts[-1], "starts at steps": ", ".join(str(start["step"]) for start in starts)}
    del rows["step"]
    return "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(rows[key]))}</td></tr>" for key in rows)


def _curves(metrics: Sequence[dict[str, Any]]) -> bytes | None:
    """How the run went, as a picture; steps that were taken twice, after a stop, as they were the last time."""
    train = list({line["step"]: line for line in metrics if line["kind"] == "train"}.values())
    dev = list({line["step"]: line for line in metrics if line["kind"] == "dev"}.values())
    if not train:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    for name in ("loss", "pruned", "ctc"):
        _draw(axes[0], train, "step", name, label=name)
    axes[0].set(xlabel="step", ylabel="loss per frame", yscale="log")
    axes[0].legend()
    _draw(axes[1], dev, "step", "wer", style="o-")
    axes[1].set(xlabel="step", ylabel="dev WER, %", ylim=(0, None))
    minutes = [{**line, "minutes": line["wall_s"] / 60} for line in dev if "wall_s" in line]
    _draw(axes[2], minutes, "minutes", "wer", style="o-")
    axes[2].set(xlabel="minutes of training", ylabel="dev WER, %", ylim=(0, None))
    _draw(axes[3], train, "step", "lr")
    axes[3].set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    _draw(axes[4], train, "step", "grad_norm")
    axes[4].set(xlabel="step", ylabel="gradient norm", yscale="log")
    for name in ("nonfinite_losses", "nonfinite_grads", "exploded_losses", "fallbacks"):
        _draw(axes[5], train, "step", name, label=name.replace("_", " "))
    axes[5].set(xlabel="step", ylabel="steps that went wrong")
    axes[5].legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _draw(axes: Any, lines: Sequence[dict[str, Any]], x: str, y: str, *, style: str = "-", label: str = "") -> None:
    points = [(line[x], line[y]) for line in lines if isinstance(line.get(y), (int, float))]
    if points:
        axes.plot(*zip(*points), style, label=label)
