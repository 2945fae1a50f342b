"""A plan's numbers are counted, worked out or measured, and it says which."""

from __future__ import annotations

import random

import pytest
import torch

from asr.cli.main import main
from asr.config.compose import compose
from asr.data import cuts_path, feats_path, read_cuts
from asr.errors import ConfigError
from asr.models.transducer import Transducer, count_parameters
from asr.training.build import build_trainer
from asr.training.plan import encoder_flops, epoch_audio, make_plan, steps_per_epoch
from asr.training.probe import _is_of_weights, probe_bins
from tests.training.tiny import overrides


@pytest.mark.parametrize(("model", "gigaflops"), [("small", 40.8), ("medium", 63.3), ("large", 107.7)])
def test_work_is_that_published(model, gigaflops):
    """The medium encoder's is published (icefall PR 1093); the others stand in the paper's table."""
    pytest.importorskip("torch.utils.flop_counter")
    with torch.device("meta"):
        built = Transducer(compose("train", [f"model=zipformer_{model}"]).model)
    assert encoder_flops(built) / 1e9 == pytest.approx(gigaflops, rel=0.05)


@pytest.mark.parametrize("encoder", ["lstm", "conformer"])
def test_a_layer_more_is_its_products_more(encoder):
    """Two operations per weight and frame, and those of attention: all frames times all, twice."""
    pytest.importorskip("torch.nn.attention")
    with torch.device("meta"):
        models = [
            Transducer(compose("train", [f"encoder={encoder}", f"model.encoder.num_layers={n}"]).model) for n in (1, 2)
        ]
    few, many = models
    work = encoder_flops(many) - encoder_flops(few)
    matrices = [sum(p.numel() for p in model.encoder.parameters() if p.dim() > 1) for model in models]
    frames = 750
    attention = 4 * frames**2 * many.config.encoder.dim if encoder == "conformer" else 0
    assert work == pytest.approx(2 * frames * (matrices[1] - matrices[0]) + attention, rel=0.05)


def test_prepared_corpus_is_counted(corpus, tmp_path):
    config = compose("train", overrides(corpus, tmp_path, "training.num_epochs=3"))
    audio = epoch_audio(config)
    cuts = list(read_cuts(feats_path(corpus, "train")))
    assert audio.utterances == len(cuts) and "counted in" in audio.source
    assert audio.hours == pytest.approx(sum(cut.duration for cut in cuts) / 3600)
    steps, source = steps_per_epoch(config, audio)
    trainer = build_trainer(config)
    assert steps == sum(1 for _ in trainer.data.epoch(0)) and "planned" in source
    on_the_fly = compose("train", overrides(corpus, tmp_path, "data.features=ON_THE_FLY", "data.speeds=[0.5,1.0]"))
    plain = [cut.duration for cut in read_cuts(cuts_path(corpus, "train"))]
    assert epoch_audio(on_the_fly).hours == pytest.approx(3 * sum(plain) / 3600)


def test_published_size_stands_in():
    """960.9 h at three speeds, and the steps that the published batches make of it."""
    config = compose("train", ["recipe=librispeech_medium", "corpus.out=nowhere"])
    audio = epoch_audio(config)
    assert audio.utterances is None and "published" in audio.source
    assert audio.hours == pytest.approx(960.9 * (1 / 0.9 + 1 + 1 / 1.1), rel=1e-3)
    steps, source = steps_per_epoch(config, audio)
    assert steps == int(audio.hours * 3600 / 4000) and "padding" in source


def test_command_shows_the_plan_and_writes_nothing(corpus, tmp_path, capsys):
    status = main(["train", *overrides(corpus, tmp_path / "run"), "--plan", "data.max_utterance_s=1.5"])
    shown = capsys.readouterr().out
    config = compose("train", overrides(corpus, tmp_path))
    with torch.device("meta"):
        parameters = f"{count_parameters(Transducer(config.model)):,}"
    assert status == 0 and not (tmp_path / "run").exists()
    for word in (parameters, "GFLOPs", "memory of a batch", "time per epoch", "measured", "counted"):
        assert word in " ".join(shown.split()), word


def measured(corpus, tmp_path, *more: str) -> list:
    torch.manual_seed(0)
    random.seed(0)
    settings = ["data.max_utterance_s=1.5", "training.device=cpu", *more]
    return list(probe_bins(compose("train", overrides(corpus, tmp_path, *settings))))


def test_steps_are_measured_as_the_run_takes_them(corpus, tmp_path):
    plain = measured(corpus, tmp_path)
    narrow = measured(corpus, tmp_path, "training.precision=BF16")
    forgetful = measured(corpus, tmp_path, "training.recompute=true")
    assert all(probe.device.endswith("in fp32") for probe in plain)
    assert all(probe.device.endswith("in bf16") for probe in narrow)
    assert all(probe.device.endswith("in fp32, layers recomputed") for probe in forgetful)
    for fewer in (narrow, forgetful):
        assert fewer[0].bytes_per_s < plain[0].bytes_per_s
    with pytest.raises(ConfigError, match="training.device=cuda:99 .* is not there"):
        measured(corpus, tmp_path, "training.device=cuda:99")


def test_a_plan_says_how_it_measured(corpus, tmp_path):
    settings = ["data.max_utterance_s=1.5", "training.device=cpu", "training.precision=BF16"]
    figures = {what: source for what, _, source in make_plan(compose("train", overrides(corpus, tmp_path, *settings)))}
    assert figures["speed"].endswith("CPU threads in bf16")
    assert "CPU threads in bf16" in figures["memory of a batch of 1.5 s utterances"]


def test_copies_of_weights_do_not_grow_with_a_batch():
    """In 16 bits, backward needs a copy of each weight besides what follows from the batch."""
    layer, seen = torch.nn.Linear(3, 5), {}

    def note(tensor):
        seen[tuple(sorted(tensor.shape))] = _is_of_weights(tensor)
        return tensor

    x = torch.zeros(7, 3).requires_grad_() * 2.0
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x), torch.autocast("cpu", torch.bfloat16):
        layer(x).sum()
    assert seen == {(3, 5): True, (3, 7): False}
