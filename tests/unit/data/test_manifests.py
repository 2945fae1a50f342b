"""Lists of cuts: what gets in, what goes to quarantine, and where the paths point."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from asr.data import (
    DataConfig,
    Utterance,
    build_cuts,
    cuts_from_paths,
    cuts_path,
    read_cuts,
    transcript,
    write_cuts,
    write_quarantine,
)
from asr.data.loading import load_samples
from asr.data.manifests import encoder_frames, frames_needed, min_frames
from asr.data.usable import usable
from asr.errors import DataError
from asr.features import read_audio
from asr.text import train_tokenizer


def test_cuts_say_what_the_utterances_said(corpus, cuts):
    assert [cut.id for cut in cuts] == [u.id for u in corpus]
    assert [transcript(cut) for cut in cuts] == [u.text for u in corpus]
    for cut, utterance in zip(cuts, corpus, strict=True):
        np.testing.assert_array_equal(load_samples(cut).numpy(), read_audio(utterance.audio).samples.numpy())


def test_bad_utterances_are_set_aside_with_their_reason(tmp_path, corpus):
    good = corpus[0]
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no audio" * 30)
    (tmp_path / "cut.wav").write_bytes(good.audio.read_bytes()[:3000])
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(1600, np.nan), 16000, subtype="FLOAT")
    names = {"missing": "no file", "empty": "empty", "text": "cannot", "cut": "breaks off", "zero": "no samples"}
    names["nan"] = "NaN"
    bad = [Utterance(id=name, audio=tmp_path / f"{name}.wav", text="one") for name in names]
    bad += [
        Utterance(id="silent", audio=good.audio, text="  "),
        Utterance(id=good.id, audio=good.audio, text="two"),
        Utterance(id="beyond", audio=good.audio, text="one", start_s=100.0),
        Utterance(id="nothing", audio=good.audio, text="one", duration_s=0.0),
    ]
    cuts, rejected = build_cuts([good, *bad])
    assert [cut.id for cut in cuts] == [good.id]
    reasons = dict(rejected)
    assert set(reasons) == {u.id for u in bad}
    for name, words in names.items():
        assert words in reasons[name]


def test_stretches_other_rates_and_channels(tmp_path, speechlike):
    speechlike(tmp_path / "slow.wav", 2.0, 1, rate=8000)
    mono = soundfile.read(tmp_path / "slow.wav", dtype="float32")[0]
    soundfile.write(tmp_path / "two.wav", np.stack([mono, np.zeros_like(mono)], 1), 16000, subtype="FLOAT")
    cuts = build_cuts(
        [
            Utterance(id="slow", audio=tmp_path / "slow.wav", text="one"),
            Utterance(id="part", audio=tmp_path / "two.wav", text="one", start_s=0.25, duration_s=0.5),
        ]
    ).cuts
    slow, part = cuts
    assert (slow.sampling_rate, len(load_samples(slow))) == (16000, 32000)
    np.testing.assert_allclose(load_samples(part).numpy(), mono[4000:12000] / 2, atol=1e-7)


def test_a_list_moves_with_its_folder(tmp_path, corpus):
    home = tmp_path / "home"
    shutil.copytree(corpus[0].audio.parent, home / "audio")
    moved = [Utterance(id=u.id, audio=home / "audio" / u.audio.name, text=u.text) for u in corpus[:3]]
    outside = Utterance(id="outside", audio=corpus[3].audio, text="two")
    write_cuts(build_cuts([*moved, outside]).cuts, cuts_path(home, "train"))
    home.rename(tmp_path / "away")
    for lazy in (False, True):
        cuts = read_cuts(cuts_path(tmp_path / "away", "train"), lazy=lazy)
        assert [cut.id for cut in cuts] == [*(u.id for u in moved), "outside"]
        assert all(len(load_samples(cut)) == cut.num_samples for cut in cuts)
    assert list((tmp_path / "away").glob("unfinished*")) == []


def test_a_missing_or_damaged_list_is_reported(tmp_path):
    with pytest.raises(DataError, match="preparation"):
        read_cuts(tmp_path / "cuts-train.jsonl.gz")
    (tmp_path / "cuts-dev.jsonl.gz").write_bytes(b"what is this")
    with pytest.raises(DataError, match="cuts-dev"):
        read_cuts(tmp_path / "cuts-dev.jsonl.gz")


def test_utterances_too_short_for_their_text_are_left_out(corpus):
    # 0.8 s are 80 frames and 18 encoder frames: eighteen letters fit, unless two that follow each other are the same.
    assert encoder_frames(80) == 18
    for text, fits in [("five four one two", True), ("three one two six", False)]:
        tokenizer = train_tokenizer("char", [text])
        cuts = build_cuts([Utterance(id="u", audio=corpus[0].audio, text=text)]).cuts
        assert len(tokenizer.encode(text)) == 18
        assert len(list(usable(cuts, tokenizer, DataConfig()))) == fits


def test_a_blank_fits_between_two_of_the_same():
    assert [frames_needed(list(word)) for word in ("", "a", "three", "aab", "aaa")] == [0, 1, 6, 4, 5]


def test_min_frames_is_the_least_that_suffices():
    for num_tokens in range(1, 50):
        assert encoder_frames(min_frames(num_tokens)) >= num_tokens > encoder_frames(min_frames(num_tokens) - 1)


def test_quarantine_is_merged_by_id(tmp_path):
    from asr.data import Rejected

    write_quarantine(tmp_path, [Rejected("b", "one\treason"), Rejected("a", "x")])
    path = write_quarantine(tmp_path, [Rejected("b", "another\nreason"), Rejected("c", 'a "quoted" one')])
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert rows[:3] == [["id", "reason"], ["a", "x"], ["b", "another reason"]]
    assert rows[3:] == [["c", 'a "quoted" one']]
    assert write_quarantine(tmp_path, []).read_text().splitlines() == ["\t".join(row) for row in rows]


def test_files_without_transcripts(data_dir):
    paths = sorted((data_dir / "utterances").glob("*.flac"))
    cuts, rejected = cuts_from_paths([*paths, "missing.wav"])
    assert [cut.id for cut in cuts] == [str(path) for path in paths]
    assert [entry.id for entry in rejected] == ["missing.wav"]
    assert all(transcript(cut) == "" for cut in cuts)
