"""From a corpus in its true layout to an exported model: prepare, 200 steps, score, export."""

from __future__ import annotations

import json

import pytest

from asr.cli.main import main
from asr.evaluation import Unit
from asr.evaluation.report import load_report
from tests.recipes import miniature

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# The recipes' smallest streaming models as they are; batches for a CPU, and the whole run in 200 steps.
RUN = [
    "data.max_duration_s=2.5",
    "data.num_buckets=2",
    "data.drop_last=false",
    "data.num_workers=0",
    "data.speeds=[1.0]",
    "data.lazy=false",
    "data.min_utterance_s=0.5",
    "augment={noise:null,masks:null}",
    "training.num_steps=200",
    "training.num_threads=1",
    "training.precision=FP32",
    "training.log_every=10",
    "training.validate_every=0",
    "training.average_period=50",
    "training.regularisation_start=20000",
    "schedule.warmup_steps=50",
    "loss.warm_steps=100",
]
KINDS = {
    "librispeech": (["corpus.train=[train-clean-100]", "corpus.vocab_size=60"], "test-other", Unit.WORD),
    "aishell": ([], "test", Unit.CHARACTER),
}


@pytest.mark.parametrize("corpus", KINDS)
def test_learns_scores_and_exports(corpus, data_dir, tmp_path):
    more, split, unit = KINDS[corpus]
    make = getattr(miniature, corpus)
    source, out, run_dir = tmp_path / "LibriSpeech", tmp_path / "data", tmp_path / "run"
    make(source, data_dir, num_train=24)
    places = [f"corpus.source={source}", f"corpus.out={out}", "corpus.num_workers=1", *more]
    chosen = [f"recipe={corpus}_small_streaming", *places]
    assert main(["prepare", *chosen]) == 0
    assert main(["train", *chosen, *RUN, f"run_dir={run_dir}"]) == 0
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}
    assert losses[200] < 0.5 * losses[10], losses
    assert main(["decode", str(run_dir), f"data.splits=[{split}]", "chunk_size=32", "left_context=128"]) == 0
    (path,) = (run_dir / "results").glob("*.json")
    report = load_report(path)
    assert report.unit is unit and report.counts.reference_words > 0
    pytest.importorskip("onnx")
    assert main(["export", str(run_dir)]) == 0
    assert list(run_dir.glob("export-streaming/*.onnx"))
