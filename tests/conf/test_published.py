"""The recipes of published experiments are those experiments: sizes exact, settings as the tables have them."""

from __future__ import annotations

import csv
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from asr.config.compose import compose
from asr.losses import Topology
from asr.models.transducer import Transducer, count_parameters
from asr.optim.schedules import ScheduleKind
from asr.training.precision import Precision
from tests.conf.recipes import CONF, choices, composed
from tests.conftest import REPO

SPEC_DIR = Path(os.environ.get("RILL_SPEC_DIR", REPO.parent / "shared" / "spec"))


class Published(NamedTuple):
    """A row of a recipe's README: parameters, "GPUs, md", "epochs, averaged", and quoted error rates."""

    parameters: int
    processes: int
    max_duration_s: float
    epochs: int
    averaged: list[int]
    rates: list[str]


def _tables() -> dict[str, Published]:
    """The tables of both READMEs by recipe. Figures stand there and are typed nowhere else."""
    found: dict[str, Published] = {}
    for corpus in ("librispeech", "aishell"):
        text = (REPO / "recipes" / corpus / "README.md").read_text(encoding="utf-8")
        table = text.split("| recipe= |")[1].split("\n\n")[0]
        for line in table.splitlines()[2:]:
            what, *cells, rate = (cell.strip() for cell in line.strip("|").split("|"))
            rates = re.findall(r"\d+\.\d\d \d+\.\d\d", rate)
            if what.startswith("`"):
                found[what.split("`")[1]] = _published(*cells, rates)
            else:  # the same model, decoded otherwise
                list(found.values())[-1].rates.extend(rates)
    return found


def _published(parameters: str, machines: str, length: str, rates: list[str]) -> Published:
    processes, max_duration_s = machines.split(", ")
    epochs, *averaged = map(int, re.findall(r"\d+", length))
    return Published(
        int(parameters.replace(" ", "")), int(processes.split()[0]), float(max_duration_s), epochs, averaged, rates
    )


class Row(NamedTuple):
    """What a README does not say of an experiment.

    `quoted`: what stands in its row of the written tables, where it has one; `num_epochs`: of the training, where the
    published model is an earlier one.
    """

    lr: float
    quoted: str = ""
    ctc: float = 0.0
    attention: float = 0.0
    consistency: float = 0.0
    lr_epochs: float = 3.5
    vocab_size: int = 500
    context_size: int = 2
    transducer: bool = True
    num_epochs: int | None = None


def _aishell(quoted: str, **other) -> Row:
    settings = {"lr_epochs": 18, "vocab_size": 4336, "context_size": 1, "num_epochs": 60, **other}
    return Row(0.045, quoted, **settings)


def _cr_ctc(lr: float, quoted: str) -> Row:
    return Row(lr, quoted, ctc=1.0, consistency=0.2, transducer=False)


def _ctc_attention(lr: float) -> Row:
    quoted = "CTC/AED S / M / L, ctc .1 att .9|2·1700 (lr .04) / 4·1200 / 4·1200|50-30/22/29"
    return Row(lr, quoted, ctc=0.1, attention=0.9, transducer=False)


TABLES = _tables()
ROWS = {
    "librispeech": Row(0.045, "M streaming, chunk 16|4 V100, 1000|.045, 3.5|30-8"),
    "librispeech_small": Row(0.04, "S 23.3 M|2 V100, 1500|.04, 3.5"),
    "librispeech_medium": Row(0.045, "M 65.5 M|4 V100, 1000|.045, 3.5"),
    "librispeech_large": Row(0.045, "L 148.4 M|4 V100, 1000|.045, 3.5"),
    "librispeech_large_8gpu": Row(0.045, "8 A100-80G, 2200|.045, 3.5|174-172"),
    "librispeech_small_streaming": Row(0.04),
    "librispeech_large_streaming": Row(0.045),
    "librispeech_100": Row(0.045),
    "librispeech_medium_ctc": Row(0.045, "M transducer+CTC (65.8 M), ctc .2|4, 1000|40-16", ctc=0.2),
    "librispeech_small_cr_ctc": _cr_ctc(0.04, "CR-CTC S, cr .2, lr .04|2 V100, 850|50-25"),
    "librispeech_medium_cr_ctc": _cr_ctc(0.045, "CR-CTC M, cr .2|4 V100, 700|50-24"),
    "librispeech_large_cr_ctc": _cr_ctc(0.045, "CR-CTC L, cr .2|2 A100, 1400|50-26"),
    "librispeech_large_cr_ctc_attention": Row(
        0.045,
        "CR-CTC/AED L, ctc .1 att .9 cr .02|2 A100, 1200|50-20",
        ctc=0.1,
        attention=0.9,
        consistency=0.02,
        transducer=False,
    ),
    "librispeech_large_transducer_cr_ctc": Row(
        0.045, "transducer+CR-CTC L, ctc .1 cr .02|2 A100, 1400|50-26", ctc=0.1, consistency=0.02
    ),
    "librispeech_small_ctc_attention": _ctc_attention(0.04),
    "librispeech_medium_ctc_attention": _ctc_attention(0.045),
    "librispeech_large_ctc_attention": _ctc_attention(0.045),
    "aishell": _aishell(""),
    "aishell_small": _aishell("char S 30.2 M, ctx 1|1200|18, 60"),
    "aishell_medium": _aishell("char M 73.4 M, ctx 1|1000|18, 60"),
    "aishell_large": _aishell("char L 157.3 M, ctx 1|800|18, 60"),
    "aishell_small_streaming": _aishell(""),
    "aishell_medium_bbpe": _aishell(
        "bbpe-500 M 65.5 M, ctx 2|1000|10, 40", lr_epochs=10, vocab_size=500, context_size=2, num_epochs=40
    ),
    "aishell_medium_cr_ctc": _aishell(
        "char M CR-CTC only 66.2 M, cr .2|500 (2 V100)|18, 60", ctc=1.0, consistency=0.2, transducer=False
    ),
}
PUBLISHED = [name for name, row in TABLES.items() if row.rates]
NOT_PUBLISHED = {"digits", "digits_cr_ctc", "demo"}


def test_every_recipe_has_its_row():
    assert ROWS.keys() | NOT_PUBLISHED == set(choices("recipe"))
    assert ROWS.keys() == TABLES.keys()


@pytest.mark.parametrize("name", ROWS)
def test_settings_are_those_of_the_row(name):
    config, row, published = composed(name), ROWS[name], TABLES[name]
    assert config.training.processes == published.processes
    assert config.data.max_duration_s == published.max_duration_s
    assert config.training.num_epochs == (row.num_epochs or published.epochs) >= published.epochs
    assert (config.optim.lr, config.schedule.lr_epochs) == (row.lr, row.lr_epochs)
    assert (config.model.vocab_size, config.model.context_size) == (row.vocab_size, row.context_size)
    assert config.model.transducer is row.transducer
    assert (config.loss.ctc_scale, config.loss.attention_scale) == (row.ctc, row.attention)
    assert (config.consistency.scale if config.consistency else 0.0) == row.consistency


@pytest.mark.parametrize("name", ROWS)
def test_parameters_are_counted_exactly(name):
    with torch.device("meta"):
        model = Transducer(composed(name).model)
    assert count_parameters(model) == TABLES[name].parameters


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


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_averages_can_be_made(name):
    """From the ends of epochs that a run keeps. What opens the recipe's file says which average that is."""
    config, row = composed(name), TABLES[name]
    first = row.epochs - max(row.averaged)
    assert first >= 1 and config.training.keep_epochs > config.training.num_epochs - first
    opening = " ".join(line[2:] for line in (CONF / "recipe" / f"{name}.yaml").read_text().splitlines()[1:5])
    assert row.rates[0] in opening and f"{row.epochs} epochs" in opening
    assert f"{' and '.join(map(str, row.averaged))} averaged" in opening


@pytest.mark.parametrize("corpus", ["librispeech", "aishell"])
def test_commands_of_a_readme_are_those_of_its_table(corpus):
    text = (REPO / "recipes" / corpus / "README.md").read_text(encoding="utf-8")
    found = []
    for line in re.findall(r"^asr (?:average|decode) .*", text, flags=re.MULTILINE):
        command, place, *overrides = shlex.split(line, comments=True)[1:]
        config = compose(command, [f"checkpoint={place}", *overrides])
        if command == "average":
            row = TABLES[Path(place).name]
            assert (config.first_epoch, config.last_epoch) == (row.epochs - row.averaged[0], row.epochs)
        found.append(command)
    assert {"average", "decode"} == set(found)


@pytest.fixture(scope="module")
def written() -> list[str]:
    """Lines of the written tables."""
    path = SPEC_DIR / "optimisation.md"
    if not path.exists():
        pytest.skip(f"no written tables at {path}; set RILL_SPEC_DIR")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.quoted])
def test_row_stands_in_the_written_tables(name, written):
    cells = ROWS[name].quoted.split("|")
    assert any(all(cell in line for cell in cells) for line in written)


@pytest.mark.parametrize("name", PUBLISHED)
def test_results_stand_in_the_written_tables(name, written):
    """Every quoted pair of error rates on one line with the epochs and the number averaged, such as 50-23."""
    row = TABLES[name]
    for rate in row.rates:
        for averaged in row.averaged:
            length = re.compile(rf"\b{row.epochs}-(\d+/)*{averaged}\b")
            assert any(rate in line and length.search(line) for line in written), (rate, averaged)


def test_counts_stand_in_the_reference_numbers(golden_dir):
    with open(golden_dir / "param_counts.csv", newline="") as file:
        counts = {row["config"]: int(row["total"]) for row in csv.DictReader(file)}
    causal = {"small_causal": "librispeech_small_streaming", "medium_causal": "librispeech"}
    ours = {f"librispeech_{size}": size for size in ("small", "medium", "large")}
    ours |= {f"aishell_{size}": f"char_{size}" for size in ("small", "medium", "large")}
    ours |= {recipe: config for config, recipe in {**causal, "large_causal": "librispeech_large_streaming"}.items()}
    assert set(ours.values()) == counts.keys()
    for name, config in ours.items():
        assert TABLES[name].parameters == counts[config], name
