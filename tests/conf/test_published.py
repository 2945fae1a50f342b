"""The recipes of published experiments are those experiments: sizes exact, settings as the tables have them."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from asr.losses import Topology
from asr.models.transducer import Transducer, count_parameters
from asr.optim.schedules import ScheduleKind
from asr.training.precision import Precision
from tests.conf.recipes import choices, composed
from tests.conftest import REPO

SPEC_DIR = Path(os.environ.get("RILL_SPEC_DIR", REPO.parent / "shared" / "spec"))


class Row(NamedTuple):
    """One published experiment. `quoted`: what stands in its row of the written tables, where it has one."""

    parameters: int
    processes: int
    max_duration_s: float
    lr: float
    num_epochs: int
    quoted: str = ""
    ctc: float = 0.0
    attention: float = 0.0
    consistency: float = 0.0
    lr_epochs: float = 3.5
    vocab_size: int = 500
    context_size: int = 2
    transducer: bool = True


def _aishell(parameters: int, max_duration_s: float, quoted: str, **other) -> Row:
    settings = {"lr_epochs": 18, "vocab_size": 4336, "context_size": 1, **other}
    return Row(parameters, 2, max_duration_s, 0.045, 60, quoted, **settings)


ROWS = {
    "librispeech": Row(66_110_931, 4, 1000, 0.045, 30, "M streaming, chunk 16|4 V100, 1000|.045, 3.5|30-8"),
    "librispeech_small": Row(23_285_615, 2, 1500, 0.04, 50, "S 23.3 M|2 V100, 1500|.04, 3.5"),
    "librispeech_medium": Row(65_549_011, 4, 1000, 0.045, 50, "M 65.5 M|4 V100, 1000|.045, 3.5"),
    "librispeech_large": Row(148_439_574, 4, 1000, 0.045, 50, "L 148.4 M|4 V100, 1000|.045, 3.5"),
    "librispeech_large_8gpu": Row(148_439_574, 8, 2200, 0.045, 174, "8 A100-80G, 2200|.045, 3.5|174-172"),
    "librispeech_small_streaming": Row(23_627_887, 2, 1500, 0.04, 30),
    "librispeech_large_streaming": Row(149_281_046, 4, 1000, 0.045, 30),
    "librispeech_100": Row(65_549_011, 4, 1000, 0.045, 30),
    "librispeech_medium_ctc": Row(
        65_805_511, 4, 1000, 0.045, 40, "M transducer+CTC (65.8 M), ctc .2|4, 1000|40-16", ctc=0.2
    ),
    "librispeech_small_cr_ctc": Row(
        22_118_279,
        *(2, 850, 0.04, 50, "CR-CTC S, cr .2, lr .04|2 V100, 850|50-25"),
        ctc=1.0,
        consistency=0.2,
        transducer=False,
    ),
    "librispeech_medium_cr_ctc": Row(
        64_250_603,
        *(4, 700, 0.045, 50, "CR-CTC M, cr .2|4 V100, 700|50-24"),
        ctc=1.0,
        consistency=0.2,
        transducer=False,
    ),
    "librispeech_large_cr_ctc": Row(
        147_010_094,
        *(2, 1400, 0.045, 50, "CR-CTC L, cr .2|2 A100, 1400|50-26"),
        ctc=1.0,
        consistency=0.2,
        transducer=False,
    ),
    "librispeech_large_cr_ctc_attention": Row(
        174_319_650,
        *(2, 1200, 0.045, 50, "CR-CTC/AED L, ctc .1 att .9 cr .02|2 A100, 1200|50-20"),
        ctc=0.1,
        attention=0.9,
        consistency=0.02,
        transducer=False,
    ),
    "librispeech_large_transducer_cr_ctc": Row(
        148_824_074,
        *(2, 1400, 0.045, 50, "transducer+CR-CTC L, ctc .1 cr .02|2 A100, 1400|50-26"),
        ctc=0.1,
        consistency=0.02,
    ),
    **{
        f"librispeech_{size}_ctc_attention": Row(
            parameters,
            *(
                processes,
                duration,
                lr,
                50,
                "CTC/AED S / M / L, ctc .1 att .9|2·1700 (lr .04) / 4·1200 / 4·1200|50-30/22/29",
            ),
            ctc=0.1,
            attention=0.9,
            transducer=False,
        )
        for size, parameters, processes, duration, lr in (
            ("small", 46_282_107, 2, 1700, 0.04),
            ("medium", 89_987_295, 4, 1200, 0.045),
            ("large", 174_319_650, 4, 1200, 0.045),
        )
    },
    "aishell": _aishell(73_974_471, 1000, ""),
    "aishell_small": _aishell(30_167_139, 1200, "char S 30.2 M, ctx 1|1200|18, 60"),
    "aishell_medium": _aishell(73_412_551, 1000, "char M 73.4 M, ctx 1|1000|18, 60"),
    "aishell_large": _aishell(157_285_130, 800, "char L 157.3 M, ctx 1|800|18, 60"),
    "aishell_small_streaming": _aishell(30_509_411, 1200, ""),
    "aishell_medium_bbpe": _aishell(
        65_549_011, 1000, "bbpe-500 M 65.5 M, ctx 2|1000|10, 40", lr_epochs=10, vocab_size=500, context_size=2
    )._replace(num_epochs=40),
    "aishell_medium_cr_ctc": _aishell(
        66_218_471,
        *(500, "char M CR-CTC only 66.2 M, cr .2|500 (2 V100)|18, 60"),
        ctc=1.0,
        consistency=0.2,
        transducer=False,
    ),
}
NOT_PUBLISHED = {"digits", "demo"}


def test_every_recipe_has_its_row():
    assert ROWS.keys() | NOT_PUBLISHED == set(choices("recipe"))


@pytest.mark.parametrize("name", ROWS)
def test_settings_are_those_of_the_row(name):
    config, row = composed(name), ROWS[name]
    assert config.training.processes == row.processes
    assert config.data.max_duration_s == row.max_duration_s
    assert config.training.num_epochs == row.num_epochs
    assert (config.optim.lr, config.schedule.lr_epochs) == (row.lr, row.lr_epochs)
    assert (config.model.vocab_size, config.model.context_size) == (row.vocab_size, row.context_size)
    assert config.model.transducer is row.transducer
    assert (config.loss.ctc_scale, config.loss.attention_scale) == (row.ctc, row.attention)
    assert (config.consistency.scale if config.consistency else 0.0) == row.consistency


@pytest.mark.parametrize("name", ROWS)
def test_parameters_are_counted_exactly(name):
    with torch.device("meta"):
        model = Transducer(composed(name).model)
    assert count_parameters(model) == ROWS[name].parameters


@pytest.mark.parametrize("name", ROWS)
def test_what_all_published_experiments_share(name):
    """specification: optimisation, data §4, transducer §6, §7, §9."""
    config = composed(name)
    optim, schedule, loss, data, masks = config.optim, config.schedule, config.loss, config.data, config.augment.masks
    assert (optim.beta1, optim.beta2, optim.eps, optim.clipping_scale) == (0.9, 0.98, 1e-8, 2.0)
    assert (optim.scalar_lr_scale, optim.size_update_period, optim.clipping_update_period) == (0.1, 4, 100)
    assert (schedule.kind, schedule.lr_batches, schedule.warmup_steps) == (ScheduleKind.EDEN, 7500, 500)
    assert (loss.prune_range, loss.lm_scale, loss.am_scale) == (5, 0.25, 0.0)
    assert (loss.simple_scale, loss.warm_steps, loss.topology) == (0.5, 2000, Topology.REGULAR)
    assert data.speeds == [0.9, 1.0, 1.1] and data.drop_last and data.num_workers == 2
    assert (masks.freq_masks, masks.freq_mask_bins, masks.time_warp_prob) == (2, 26, 0.9)
    assert (masks.time_masks, masks.time_mask_frames, masks.time_mask_fraction) == (10, 100, 0.15)
    assert masks.prob == (0.0 if config.consistency else 0.9)
    if config.consistency:
        views = config.consistency.masks
        assert (views.time_masks, views.time_mask_fraction, views.time_warp_prob) == (25, 0.375, 0.0)
    assert (config.training.average_period, config.training.checkpoint_every, config.training.seed) == (200, 4000, 42)
    assert config.training.keep_checkpoints == 30 and config.training.precision is Precision.FP16
    assert config.training.validate_every == (800 if name == "librispeech_100" else 3000)
    assert (
        not config.normalise_features and config.augment.level is config.augment.silence is config.augment.warp is None
    )


@pytest.mark.parametrize("name", ROWS)
def test_what_a_corpus_decides(name):
    config = composed(name)
    data, noise = config.data, config.augment.noise
    if name.startswith("librispeech"):
        assert (data.num_buckets, data.buffer_cuts, data.spare_frames) == (30, 150_000, 2)
        assert (data.min_utterance_s, data.max_utterance_s) == (1.0, 20.0)
        assert (noise.prob, noise.min_snr_db, noise.max_snr_db) == (0.5, 10.0, 20.0)
        assert (config.schedule.warmup_start, config.augment.masks.time_warp_frames) == (0.1, 80)
    else:
        assert (data.num_buckets, data.buffer_cuts, data.spare_frames) == (15, 75_000, 0)
        assert (data.min_utterance_s, data.max_utterance_s) == (1.0, 15.0 if "bbpe" in name else 12.0)
        assert noise is None
        assert (config.schedule.warmup_start, config.augment.masks.time_warp_frames) == (0.5, 20)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.quoted])
def test_row_stands_in_the_written_tables(name):
    path = SPEC_DIR / "optimisation.md"
    if not path.exists():
        pytest.skip(f"no written tables at {path}; set RILL_SPEC_DIR")
    cells = ROWS[name].quoted.split("|")
    assert any(all(cell in line for cell in cells) for line in path.read_text(encoding="utf-8").splitlines())


def test_counts_stand_in_the_reference_numbers(golden_dir):
    with open(golden_dir / "param_counts.csv", newline="") as file:
        counts = {row["config"]: int(row["total"]) for row in csv.DictReader(file)}
    causal = {"small_causal": "librispeech_small_streaming", "medium_causal": "librispeech"}
    ours = {f"librispeech_{size}": size for size in ("small", "medium", "large")}
    ours |= {f"aishell_{size}": f"char_{size}" for size in ("small", "medium", "large")}
    ours |= {recipe: config for config, recipe in {**causal, "large_causal": "librispeech_large_streaming"}.items()}
    assert set(ours.values()) == counts.keys()
    for name, config in ours.items():
        assert ROWS[name].parameters == counts[config], name
