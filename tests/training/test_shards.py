"""Batches from shards are the batches from files."""

from __future__ import annotations

import pytest
import torch

from asr.cli.main import main
from asr.data import DataConfig, FeatureSource, cuts_path, read_cuts, train_loader
from asr.errors import ConfigError
from asr.text import load_tokenizer


@pytest.fixture(scope="module")
def shards(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded") / "train"
    assert main(["data", "shard", str(corpus), "split=train", f"out={folder}", "shard_size=5"]) == 0
    return folder


def settings(corpus, shards=None, **more) -> DataConfig:
    return DataConfig(
        folder=str(corpus),
        shards=shards and str(shards),
        features=FeatureSource.ON_THE_FLY,
        speeds=[1.0, 0.9],
        max_duration_s=4.0,
        num_buckets=2,
        num_workers=0,
        **more,
    )


def test_every_utterance_is_there(corpus, shards):
    tokenizer = load_tokenizer(corpus / "tokenizer.json")
    assert len(list(shards.glob("recording.*.tar"))) == 4  # sixteen utterances by fives
    files, tars = (
        {
            utt: x
            for b in train_loader(c, tokenizer, None).epoch(0)
            for utt, x in zip(b.ids, zip(b.features, b.feature_lens, b.texts))
        }
        for c in (settings(corpus, lazy=True), settings(corpus, shards))
    )
    assert files.keys() == tars.keys() and len(files) == 2 * len(read_cuts(cuts_path(corpus, "train")))
    for utt, (features, length, text) in files.items():
        assert (length, text) == tars[utt][1:]
        torch.testing.assert_close(tars[utt][0][:length], features[:length], rtol=0, atol=1e-3)


def test_order_repeats_and_resumes(corpus, shards):
    loader = train_loader(settings(corpus, shards), load_tokenizer(corpus / "tokenizer.json"), None)
    first = [batch.ids for batch in loader.epoch(3)]
    assert [batch.ids for batch in loader.epoch(3)] == first
    assert [batch.ids for batch in loader.epoch(3, skip=2)] == first[2:]
    assert [batch.ids for batch in loader.epoch(4)] != first


def test_what_is_no_shard_is_refused(corpus, shards, capsys):
    with pytest.raises(ConfigError, match="holds no cuts"):
        train_loader(settings(corpus, corpus), load_tokenizer(corpus / "tokenizer.json"), None)
    assert main(["data", "shard", str(corpus), "split=train", f"out={shards}"]) == 1
    assert "is not empty" in capsys.readouterr().err
