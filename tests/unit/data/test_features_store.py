"""Stored features are the computed ones, at every speed, and interrupted work is taken up again."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from asr.data import at_speeds, feature_stats, features_store, read_cuts, store_features
from asr.data.loading import load_features, load_samples
from asr.errors import AudioError, ConfigError, DataError
from asr.features import Fbank

SPEEDS = (0.9, 1.0, 1.1)


@pytest.fixture(scope="module")
def stored(cuts, tmp_path_factory):
    return read_cuts(store_features(cuts, tmp_path_factory.mktemp("store"), "train", speeds=SPEEDS))


def test_every_utterance_at_every_speed(cuts, stored):
    assert [cut.id for cut in stored][:6] == ["u00_sp0.9", "u00", "u00_sp1.1", "u01_sp0.9", "u01", "u01_sp1.1"]
    assert len(stored) == 3 * len(cuts)
    by_id = {cut.id: cut for cut in stored}
    assert by_id["u00_sp0.9"].duration == pytest.approx(cuts[0].duration / 0.9, abs=1e-3)
    assert by_id["u00_sp0.9"].supervisions[0].text == cuts[0].supervisions[0].text


def test_stored_is_what_our_filterbank_computes(cuts, stored):
    fbank = Fbank()
    for cut, source in zip(stored, at_speeds(cuts, SPEEDS), strict=True):
        samples = load_samples(source)
        expected = fbank(samples[None], torch.tensor([len(samples)])).features[0]
        found = load_features(cut, fbank)
        assert found.shape == (cut.features.num_frames, 80) == ((cut.num_samples + 80) // 160, 80)
        assert torch.equal(found, expected)


def test_finished_shards_are_kept_and_changed_audio_is_noticed(corpus, cuts, tmp_path, monkeypatch):
    monkeypatch.setattr(features_store, "SHARD_SIZE", 10)
    store_features(cuts, tmp_path, "train", num_workers=1)
    store = tmp_path / "feats-train"
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")}
    done = sorted(store.glob("done-*"))
    assert (len(times), len(done)) == (30, 3)
    done[0].unlink()
    store_features(cuts, tmp_path, "train", num_workers=1)
    assert sum(path.stat().st_mtime_ns != old for path, old in times.items()) == 10
    os.utime(corpus[0].audio, ns=(1, 1))
    store_features(cuts, tmp_path, "train", num_workers=1)
    assert len(list(store.glob("done-*"))) == 4


def test_a_recording_that_vanished_is_named(corpus, cuts, tmp_path):
    from asr.data import Utterance, build_cuts

    lost = tmp_path / "lost.wav"
    lost.write_bytes(corpus[0].audio.read_bytes())
    gone = build_cuts([Utterance(id="lost", audio=lost, text="one")]).cuts
    lost.unlink()
    with pytest.raises(AudioError, match="lost"):
        store_features(gone, tmp_path, "train", num_workers=1)


def test_statistics_are_those_of_all_frames(stored):
    frames = np.concatenate([cut.load_features() for cut in stored]).astype(np.float64)
    mean, std = feature_stats(stored)
    np.testing.assert_allclose(mean.numpy(), frames.mean(0), rtol=1e-5)
    assert std == pytest.approx((frames - frames.mean(0)).std(), rel=1e-5)
    assert ((torch.from_numpy(frames) - mean) / std).std() == pytest.approx(1.0, abs=1e-3)


def test_statistics_do_not_need_stored_features(cuts, stored):
    plain = feature_stats(cuts)
    kept = feature_stats(cut for cut in stored if "_sp" not in cut.id)
    torch.testing.assert_close(plain[0], kept[0])
    assert plain[1] == pytest.approx(kept[1])


def test_what_cannot_be_done_is_refused(cuts, tmp_path):
    with pytest.raises(ConfigError, match="speeds"):
        store_features(cuts, tmp_path, "train", speeds=(1.0, 0.0))
    with pytest.raises(DataError, match="statistics"):
        feature_stats([])
