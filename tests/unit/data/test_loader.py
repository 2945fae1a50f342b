"""Batches: what they hold, and that neither workers nor interruptions change them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from asr.data import (
    AugmentConfig,
    DataConfig,
    FeatureSource,
    NoiseConfig,
    ReverbConfig,
    TrainLoader,
    Utterance,
    build_cuts,
    cuts_path,
    eval_loader,
    heard_cuts,
    read_cuts,
    split_cuts,
    store_features,
    train_loader,
    write_cuts,
)
from asr.data.features_store import feats_path
from asr.data.loader import one_ahead
from asr.data.loading import load_features
from asr.data.replay import ReplayConfig
from asr.errors import AudioError, DataError
from asr.features import LOG_FLOOR, PADDING_VALUE, Fbank
from asr.text import train_tokenizer

TOKENIZER = train_tokenizer("char", ["zero one two three four five"])


@pytest.fixture(scope="module")
def folder(cuts, tmp_path_factory):
    """A prepared corpus."""
    folder = tmp_path_factory.mktemp("prepared")
    write_cuts(cuts, cuts_path(folder, "train"))
    store_features(read_cuts(cuts_path(folder, "train")), folder, "train", speeds=(0.9, 1.0, 1.1))
    return folder


@pytest.fixture
def data(folder):
    return DataConfig(folder=str(folder), max_duration_s=8.0, num_buckets=4, num_workers=0)


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        a.ids == b.ids and a.texts == b.texts and a.index == b.index
        and all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


def test_a_batch_holds_its_utterances(data, folder):
    stored = {cut.id: cut for cut in split_cuts(data, "train")}
    batches = list(train_loader(data, TOKENIZER, None).epoch(0))
    assert sorted(i for b in batches for i in b.ids) == sorted(stored)
    for number, batch in enumerate(batches):
        assert batch.index == number
        assert batch.features.shape[:2] == (len(batch.ids), batch.feature_lens.max())
        for row, name in enumerate(batch.ids):
            n, s = batch.feature_lens[row], batch.token_lens[row]
            expected = torch.from_numpy(stored[name].load_features())
            assert torch.equal(batch.features[row, :n], expected)
            assert (batch.features[row, n:] == PADDING_VALUE).all()
            assert batch.tokens[row, :s].tolist() == TOKENIZER.encode(batch.texts[row])
            assert (batch.tokens[row, s:] == 0).all()
        # lhotse closes a batch after the utterance that fills it, which may be the longest.
        assert (len(batch.ids) - 1) * max(stored[i].duration for i in batch.ids) <= data.max_duration_s


def test_batches_padded_to_a_multiple_differ_in_nothing_else(data):
    plain = list(train_loader(data, TOKENIZER, None).epoch(0))
    padded = list(train_loader(replace(data, frames_multiple=32), TOKENIZER, None).epoch(0))
    assert any(batch.features.shape[1] % 32 for batch in plain)
    for batch in padded:
        frames, longest = batch.features.shape[1], int(batch.feature_lens.max())
        assert frames % 32 == 0 and 0 <= frames - longest < 32
        assert (batch.features[:, longest:] == PADDING_VALUE).all()
    cut = [b._replace(features=b.features[:, : b.feature_lens.max()]) for b in padded]
    assert same(cut, plain)


def test_the_next_item_is_fetched_while_one_is_worked_on():
    fetched = threading.Event()

    def source():
        yield 1
        fetched.set()
        yield 2
        raise DataError("no third")

    items = one_ahead(source())
    assert next(items) == 1
    assert fetched.wait(timeout=10)  # though nobody has asked for it
    assert next(items) == 2
    with pytest.raises(DataError, match="no third"):
        next(items)
    assert list(one_ahead([3, 4])) == [3, 4]


def test_how_long_padding_makes_a_batch():
    assert DataConfig().padded_s(2.5) == 2.5
    assert DataConfig(frames_multiple=32).padded_s(2.5) == 2.56
    assert DataConfig(frames_multiple=32).padded_s(2.56) == 2.56


def test_workers_change_nothing(data):
    expected = list(train_loader(data, TOKENIZER, AugmentConfig()).epoch(3))
    for num_workers in (1, 2):
        found = list(train_loader(replace(data, num_workers=num_workers), TOKENIZER, AugmentConfig()).epoch(3))
        assert same(found, expected)


def test_workers_change_nothing_on_the_fly(data, folder):
    noise = NoiseConfig(cuts=str(cuts_path(folder, "train")))
    flying = replace(data, features=FeatureSource.ON_THE_FLY)
    expected = list(train_loader(flying, TOKENIZER, AugmentConfig(noise=noise)).epoch(0))
    found = list(train_loader(replace(flying, num_workers=2), TOKENIZER, AugmentConfig(noise=noise)).epoch(0))
    assert same(found, expected)


@pytest.mark.parametrize(
    ("name", "listed", "setting"), [("noise", "musan", NoiseConfig), ("reverb", "rirs", ReverbConfig)]
)
def test_noise_and_rooms_are_found_where_recipes_put_them(data, cuts, tmp_path, name, listed, setting):
    write_cuts(cuts, cuts_path(tmp_path, "train"))
    flying = replace(data, folder=str(tmp_path), features=FeatureSource.ON_THE_FLY)
    augment = AugmentConfig(**{name: setting()})
    with pytest.raises(DataError, match=f"corpus.{listed}=download .* augment.{name}=null") as caught:
        train_loader(flying, TOKENIZER, augment)
    assert str(cuts_path(tmp_path / "noise", listed)) in str(caught.value)
    write_cuts(cuts.subset(first=3), cuts_path(tmp_path / "noise", listed))
    assert next(train_loader(flying, TOKENIZER, augment).epoch(0)).ids


def test_stored_and_computed_features_give_the_same_batches(data):
    stored = list(train_loader(data, TOKENIZER, AugmentConfig()).epoch(0))
    flying = replace(data, features=FeatureSource.ON_THE_FLY)
    assert same(list(train_loader(flying, TOKENIZER, AugmentConfig()).epoch(0)), stored)


def test_skipping_resumes_exactly(data):
    whole = list(train_loader(data, TOKENIZER, AugmentConfig()).epoch(1))
    for skip in (0, 1, 5, len(whole)):
        assert same(list(train_loader(data, TOKENIZER, AugmentConfig()).epoch(1, skip=skip)), whole[skip:])


def test_augmentation_differs_between_epochs(data):
    loader = train_loader(data, TOKENIZER, AugmentConfig())
    first, second = ({i: x for b in loader.epoch(e) for i, x in zip(b.ids, b.features)} for e in (0, 1))
    assert sum(torch.equal(first[i], second[i]) for i in first if first[i].shape == second[i].shape) < len(first) / 4


def test_counting_batches_reads_nothing(data, cuts):
    loader = train_loader(data, TOKENIZER, AugmentConfig())
    assert loader.num_batches(2) == len(list(loader.epoch(2)))


def test_a_lazy_list_gives_the_same_utterances(data):
    lazy = replace(data, lazy=True)
    for source in FeatureSource:
        found = list(train_loader(replace(lazy, features=source), TOKENIZER, None).epoch(0))
        assert sum(len(batch.ids) for batch in found) == 90
        assert same(list(train_loader(replace(lazy, features=source), TOKENIZER, None).epoch(0)), found)


def test_replay_of_lazy_lists_goes_on_where_it_was(data):
    """Planned anew, by whomever, and resumed in the middle: the same batches, of both halves from the beginning on."""
    replay = ReplayConfig(folder=data.folder, exclude_speakers=["s0"], share=0.4)
    lazy = replace(data, lazy=True, exclude_speakers=["s1", "s2"])

    def loader() -> TrainLoader:
        return train_loader(lazy, TOKENIZER, AugmentConfig(), replay=replay)

    whole = list(loader().epoch(3))
    assert same(list(loader().epoch(3, skip=2)), whole[2:])
    voices = {cut.id: cut.supervisions[0].speaker for cut in read_cuts(feats_path(data.folder, "train"))}
    heard = [voices[name.partition("-again")[0]] for batch in whole for name in batch.ids]
    assert set(heard) == {"s0", "s1", "s2"}
    shares = [
        sum(n for v, n in zip(heard, frames_of(whole), strict=True) if (v == "s0") == new) for new in (True, False)
    ]
    assert shares[1] / sum(shares) == pytest.approx(0.4, abs=0.03)


def frames_of(batches) -> list[int]:
    return [int(frames) for batch in batches for frames in batch.feature_lens]


def test_opening_a_loader_leaves_the_random_state_alone(data):
    before = torch.get_rng_state()
    next(train_loader(data, TOKENIZER, AugmentConfig()).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_unfit_utterances_are_passed_over(data, corpus):
    hasty = Utterance(id="hasty", audio=corpus[0].audio, text=" ".join(["three"] * 9))
    other = Utterance(id="other", audio=corpus[1].audio, text="one two")
    short = Utterance(id="short", audio=corpus[2].audio, text="one", duration_s=0.5)
    cuts = build_cuts([hasty, other, short]).cuts
    limits = replace(data, min_utterance_s=0.6)
    assert [b.ids for b in TrainLoader(cuts, TOKENIZER, limits, None).epoch(0)] == [["other"]]
    with pytest.raises(DataError, match="no training cuts"):
        TrainLoader(cuts.subset(first=1), TOKENIZER, data, None)


def test_evaluation_sees_everything_once(data, cuts):
    batches = list(eval_loader(cuts, TOKENIZER, data, tail_frames=30))
    assert sorted(i for b in batches for i in b.ids) == sorted(cut.id for cut in cuts)
    fbank, by_id = Fbank(), {cut.id: cut for cut in cuts}
    for batch in batches:
        for row, name in enumerate(batch.ids):
            plain = load_features(by_id[name], fbank)
            n = int(batch.feature_lens[row])
            assert n == len(plain) + 30
            assert torch.equal(batch.features[row, : n - 30], plain)
            assert (batch.features[row, n - 30 : n] == LOG_FLOOR).all()
    lengths = [int(n) for b in batches for n in b.feature_lens]
    assert lengths == sorted(lengths, reverse=True)


def test_evaluation_needs_no_transcript(data, corpus):
    cuts = build_cuts([Utterance(id="x", audio=corpus[0].audio, text="")], need_text=False).cuts
    (batch,) = eval_loader(cuts, TOKENIZER, data)
    assert batch.texts == [""]
    assert batch.tokens.shape == (1, 0)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_audio_that_vanished_is_one_sentence_even_from_a_worker(data, corpus, tmp_path, num_workers):
    lost = tmp_path / "lost.wav"
    lost.write_bytes(corpus[0].audio.read_bytes())
    cuts = build_cuts([Utterance(id="lost-one", audio=lost, text="one")]).cuts
    lost.unlink()
    with pytest.raises(AudioError, match="lost-one") as caught:
        list(eval_loader(cuts, TOKENIZER, replace(data, num_workers=num_workers)))
    assert "\n" not in str(caught.value)


def test_missing_preparation_is_reported(tmp_path):
    for source in FeatureSource:
        with pytest.raises(DataError, match="preparation"):
            train_loader(DataConfig(folder=str(tmp_path), features=source), TOKENIZER, None)


def test_an_excluded_speaker_is_neither_trained_nor_chosen_on(data):
    without = replace(data, exclude_speakers=["s1"])
    trained = {id.split("_")[0] for batch in train_loader(without, TOKENIZER, None).epoch(0) for id in batch.ids}
    heard = {cut.id for cut in heard_cuts(without, "train")}
    everyone = {cut.id: cut.supervisions[0].speaker for cut in split_cuts(data, "train")}
    assert heard == {id for id, speaker in everyone.items() if speaker != "s1"}
    assert {speaker for id, speaker in everyone.items() if any(id.startswith(t) for t in trained)} == {"s0", "s2"}
