"""`asr prepare` on LibriSpeech and AISHELL-1 in small: what is written is what was there, once, whatever happens."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from asr.cli.main import main
from asr.data import cuts_path, read_cuts
from asr.recipes import manifests
from asr.text import load_tokenizer
from tests.training import child

SPLITS = {
    "librispeech": ["train-clean-100", "dev-clean", "dev-other", "test-clean", "test-other"],
    "aishell": ["train", "dev", "test"],
}

UNIONS = {"librispeech": {"train": ["train-clean-100"], "dev": ["dev-clean", "dev-other"]}, "aishell": {}}


def arguments(recipe: str, source: Path, out: Path, *more: str) -> list[str]:
    settings = [f"corpus.source={source}", f"corpus.out={out}", "corpus.num_workers=1", "corpus.vocab_size=60", *more]
    subset = ["corpus.train=[train-clean-100]"] if recipe == "librispeech" else []
    return ["prepare", f"recipe={recipe}", *(f"{item}" for item in [*settings, *subset])]


def prepare(recipe: str, source: Path, out: Path, *more: str) -> Path:
    assert main(arguments(recipe, source, out, *more)) == 0
    return out


@pytest.fixture(scope="module", params=["librispeech", "aishell"])
def corpus(request):
    return request.param, request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    recipe, (root, _) = corpus
    return prepare(recipe, root, tmp_path_factory.mktemp("prepared") / recipe)


def quarantined(out: Path) -> dict[str, str]:
    with open(out / "quarantine.tsv", encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def test_manifests_say_what_was_written(corpus, prepared):
    recipe, (_, told) = corpus
    found = {}
    for split in SPLITS[recipe]:
        for cut in read_cuts(cuts_path(prepared, split)):
            (supervision,) = cut.supervisions
            found[cut.id] = (split, supervision.speaker, supervision.text, cut.num_samples)
            assert cut.duration == pytest.approx(cut.num_samples / 16_000)
            assert cut.load_audio().shape == (1, cut.num_samples)
    assert found == {utt_id: tuple(one) for utt_id, one in told.items()}
    assert quarantined(prepared) == {}
    for union, parts in UNIONS[recipe].items():
        expected = [cut.id for part in parts for cut in read_cuts(cuts_path(prepared, part))]
        found_ids = [cut.id for cut in read_cuts(cuts_path(prepared, union))]
        assert sorted(found_ids) == sorted(expected)
        assert (found_ids == expected) == (union != "train")  # which is shuffled


def test_manifests_agree_with_lhotse(corpus, prepared):
    """lhotse's own preparer, which stops at the first thing amiss, sees the same in a tree where nothing is."""
    recipe, (root, _) = corpus
    if recipe == "librispeech":
        from lhotse.recipes import prepare_librispeech

        theirs = prepare_librispeech(root, dataset_parts=SPLITS[recipe])
    else:
        from lhotse.recipes import prepare_aishell

        theirs = prepare_aishell(root)
    for split in SPLITS[recipe]:
        ours = {
            (s.id, s.speaker, s.text, s.duration)
            for cut in read_cuts(cuts_path(prepared, split))
            for s in cut.supervisions
        }
        assert ours == {(s.id, s.speaker, s.text, s.duration) for s in theirs[split]["supervisions"]}


def test_second_run_does_nothing(corpus, prepared, monkeypatch):
    recipe, (root, _) = corpus
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*")}
    monkeypatch.setattr(manifests, "build_cuts", None)  # no audio is read again
    prepare(recipe, root, prepared)
    assert {path: path.stat().st_mtime_ns for path in prepared.rglob("*")} == before


def _die_at_third_shard() -> None:
    manifests.SHARD = 4
    write, calls = manifests._write_shard, []

    def counted(*job):
        calls.append(job)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*job)

    manifests._write_shard = counted


def test_killed_run_goes_on(corpus, tmp_path, monkeypatch):
    recipe, (root, told) = corpus
    outcome = child.asr(arguments(recipe, root, tmp_path / "out"), tmp_path / "log", trouble=_die_at_third_shard)
    assert outcome.was_killed
    left = sorted(path.name for path in (tmp_path / "out").glob("manifests/*/*.jsonl.gz"))
    assert len(left) == 2
    monkeypatch.setattr(manifests, "SHARD", 4)
    read: list[str] = []
    build = manifests.build_cuts

    def counted(shard, **options):
        read.extend(utterance.id for utterance in shard)
        return build(shard, **options)

    monkeypatch.setattr(manifests, "build_cuts", counted)
    out = prepare(recipe, root, tmp_path / "out")
    assert len(read) == len(set(read)) == len(told) - 8  # two shards of four were there
    assert {cut.id for split in SPLITS[recipe] for cut in read_cuts(cuts_path(out, split))} == set(told)


def test_what_is_unfit_is_quarantined(corpus, tmp_path):
    recipe, (root, told) = corpus
    source = Path(shutil.copytree(root, tmp_path / root.name))
    train = [utt_id for utt_id, one in sorted(told.items()) if one.split.startswith("train")]
    corrupt, silent = train[0], train[1]
    (audio,) = source.rglob(f"{corrupt}.*")
    whole = audio.read_bytes()
    audio.write_bytes(whole[: len(whole) // 2])
    lists = [path for path in source.rglob("*.txt") if silent in path.read_text(encoding="utf-8")]
    for path in lists:
        path.write_text(
            re.sub(rf"^{silent} .*$\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8"
        )
    lost = {train[2]} if recipe == "librispeech" else set()  # AISHELL has sentences in its list that nobody reads
    for utt_id in lost:
        next(source.rglob(f"{utt_id}.flac")).unlink()
    out = prepare(recipe, source, tmp_path / "out")
    reasons = quarantined(out)
    assert reasons.keys() == {corrupt, silent} | lost
    assert all("there is no file" in reasons[utt_id] for utt_id in lost)
    assert "breaks off" in reasons[corrupt] and "transcript is empty" in reasons[silent]
    found = {cut.id for split in SPLITS[recipe] for cut in read_cuts(cuts_path(out, split))}
    assert found == told.keys() - {corrupt, silent} - lost
    page = (out / "summary.html").read_text(encoding="utf-8")
    assert corrupt in page and "transcript is empty" in page
    audio.write_bytes(whole)
    prepare(recipe, source, out)
    assert quarantined(out).keys() == {silent} | lost  # the other is mended


def test_summary(corpus, prepared):
    _, (_, told) = corpus
    page = (prepared / "summary.html").read_text(encoding="utf-8")
    hours = sum(one.num_samples for one in told.values() if one.split.startswith("train")) / 16_000 / 3600
    assert f"<td>{hours:.2f}</td>" in page and "data:image/png;base64," in page and "Rejected: 0" in page


def test_characters_in_the_order_of_the_transcript_file(aishell, tmp_path):
    out = prepare("aishell", aishell.root, tmp_path)
    tokenizer = load_tokenizer(out / "tokenizer.json")
    lines = (aishell.root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt").read_text(encoding="utf-8")
    spoken = "".join("".join(line.split()[1:]) for line in lines.splitlines())
    assert tokenizer.symbols[3:] == list(dict.fromkeys(spoken))
    assert "ｔ" in tokenizer.symbols and tokenizer.encode("T") == [2]  # numbered before normalisation, as published
    assert "T 1×" in (out / "summary.html").read_text(encoding="utf-8")


def test_units_can_change(aishell, tmp_path):
    prepare("aishell", aishell.root, tmp_path)
    before = load_tokenizer(tmp_path / "tokenizer.json")
    prepare("aishell", aishell.root, tmp_path, "corpus.units=BYTE_BPE", "corpus.vocab_size=62")
    after = load_tokenizer(tmp_path / "tokenizer.json")
    assert after.vocab_size == 62 != before.vocab_size
    for one in aishell.told.values():
        if "T" in one.text:
            continue  # the units are trained on the file as it stands, where this letter is a full-width one
        assert after.decode(after.encode(one.text, strict=True)) == one.text


def test_stored_features(librispeech, tmp_path):
    out = prepare("librispeech", librispeech.root, tmp_path, "corpus.store_features=true", "corpus.speeds=[1.0,1.1]")
    stored = read_cuts(out / "feats-train.jsonl.gz")
    plain = read_cuts(cuts_path(out, "train"))
    assert len(stored) == 2 * len(plain) and all(cut.has_features for cut in stored)
    assert len(read_cuts(out / "feats-dev.jsonl.gz")) == len(read_cuts(cuts_path(out, "dev")))


def test_training_subsets_are_mixed_in_an_order_that_repeats(aishell, tmp_path):
    """Any two lists will do. Whole cuts are compared: mixing changes their order and nothing else."""
    prepare("aishell", aishell.root, tmp_path)
    parts = ["train", "dev"]
    manifests.write_union(tmp_path, "plain", parts)
    manifests.write_union(tmp_path, "mixed", parts, shuffled=True)
    plain, mixed = (list(read_cuts(cuts_path(tmp_path, name))) for name in ("plain", "mixed"))
    assert [cut.id for cut in plain] == [cut.id for part in parts for cut in read_cuts(cuts_path(tmp_path, part))]
    assert mixed != plain and sorted(mixed, key=lambda cut: cut.id) == sorted(plain, key=lambda cut: cut.id)
    in_dev = [cut.id in {cut.id for cut in read_cuts(cuts_path(tmp_path, "dev"))} for cut in mixed]
    assert any(in_dev[: len(in_dev) // 2]) and any(in_dev[len(in_dev) // 2 :])
    manifests.write_union(tmp_path, "again", parts[::-1], shuffled=True)
    assert list(read_cuts(cuts_path(tmp_path, "again"))) == mixed  # whatever the order of the parts
    assert not list(tmp_path.glob(".order-*"))
    before = cuts_path(tmp_path, "mixed").stat().st_mtime_ns
    manifests.write_union(tmp_path, "mixed", parts, shuffled=True)
    assert cuts_path(tmp_path, "mixed").stat().st_mtime_ns == before


def test_noise_is_listed_in_windows(aishell, tmp_path):
    import numpy as np
    import soundfile

    musan, rirs = tmp_path / "musan" / "noise", tmp_path / "rirs" / "simulated_rirs"
    musan.mkdir(parents=True), rirs.mkdir(parents=True)
    soundfile.write(musan / "hum.wav", 0.1 * np.sin(np.arange(27 * 16_000) / 20), 16_000)
    soundfile.write(rirs / "room.wav", np.eye(1, 4000)[0], 16_000)
    out = prepare(
        "aishell",
        aishell.root,
        tmp_path / "out",
        f"corpus.musan={tmp_path / 'musan'}",
        f"corpus.rirs={tmp_path / 'rirs'}",
    )
    windows = read_cuts(cuts_path(out / "noise", "musan"))
    assert [cut.duration for cut in windows] == [10.0, 10.0, 7.0]
    assert [cut.num_samples for cut in read_cuts(cuts_path(out / "noise", "rirs"))] == [4000]


def test_a_source_that_is_none_is_refused(tmp_path, capsys):
    assert main(arguments("librispeech", tmp_path, tmp_path / "out")) == 1
    assert "has no folder train-clean-100" in capsys.readouterr().err
    assert main(arguments("aishell", tmp_path, tmp_path / "out")) == 1
    assert "has no folder data_aishell/wav" in capsys.readouterr().err
