"""What fine-tuning forgets: the error rate on a set that the model knew, before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asr.evaluation.summary import read_metrics


class Canary:
    """A validation that also watches a second set.

    Args:
        validate: step to numbers, "wer" among them, of the dev set.
        watch: the same of the canary set.
    """

    def __init__(self, validate: Callable[[int], dict[str, Any]], watch: Callable[[int], dict[str, Any]]):
        self.validate, self.watch = validate, watch

    def __call__(self, step: int) -> dict[str, Any]:
        return {**self.validate(step), "canary_wer": self.watch(step)["wer"]}


def before_and_after(run_dir: Path) -> str | None:
    """The error rates of a run's first and last validation, in words; None where it watched no canary."""
    rows = [row for row in read_metrics(run_dir) if row["kind"] == "dev" and "canary_wer" in row]
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    return (
        f"error rate from step {first['step']} to step {last['step']}: dev {first['wer']:.2f} to {last['wer']:.2f} %, "
        f"canary {first['canary_wer']:.2f} to {last['canary_wer']:.2f} %"
    )
