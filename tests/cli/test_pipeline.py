"""From a corpus to a decoded test set, by the commands that a user would type."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from asr.checkpoint.format import read_checkpoint
from asr.checkpoint.model import AVERAGED
from tests.training.tiny import overrides


@pytest.fixture(scope="module")
def averaged(run_dir, tmp_path_factory) -> Path:
    """A copy of the run's folder, averaged."""
    from asr.cli.main import main

    folder = tmp_path_factory.mktemp("averaged") / "run"
    shutil.copytree(run_dir, folder)
    assert main(["average", str(folder)]) == 0
    return folder


def test_train_leaves_a_record(run_dir):
    names = {path.name for path in run_dir.iterdir()}
    assert {"config.yaml", "train.log", "metrics.jsonl", "tensorboard", "checkpoints"} <= names
    assert "num_steps: 6" in (run_dir / "config.yaml").read_text()
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["step"]) for row in rows] == [("train", 6), ("dev", 6)], "also of a run this short"


def test_training_again_keeps_the_record_of_the_run(corpus, run_dir, refused):
    before = (run_dir / "config.yaml").read_bytes()
    line = refused("train", *overrides(corpus, run_dir, "model.joiner_dim=16"))
    assert "another model" in line
    assert (run_dir / "config.yaml").read_bytes() == before


def test_average_writes_a_model_for_use(averaged):
    checkpoint = read_checkpoint(averaged / AVERAGED)
    assert {name.split("/")[0] for name in checkpoint.tensors} == {"model"}
    assert checkpoint.metadata["average"]["dev_wer"] >= 0
    assert "training" not in checkpoint.metadata


def test_decode_needs_the_checkpoint_and_nothing_else(averaged, command, tmp_path, monkeypatch):
    moved = tmp_path / "anywhere.safetensors"
    shutil.copyfile(averaged / AVERAGED, moved)
    monkeypatch.chdir(tmp_path)
    status, out, err = command("decode", moved, f"out={tmp_path / 'results'}")
    assert status == 0, err
    report = json.loads(next((tmp_path / "results").glob("test-*.json")).read_text())
    assert "test" in " ".join(out) and report
    listing = next((tmp_path / "results").glob("test-*.txt")).read_text()
    assert listing.count("test-") >= 3


def test_decoding_step_by_step_finds_the_same(averaged, command, tmp_path):
    answers = []
    for stepwise in ("true", "false"):
        out = tmp_path / stepwise
        status, _, err = command("decode", averaged, f"out={out}", f"stepwise={stepwise}", "chunk_size=16")
        assert status == 0, err
        answers.append(next(out.glob("*.txt")).read_text())
    assert answers[0] == answers[1]


def test_methods(averaged, command, tmp_path):
    methods = (f"search.method={name}" for name in ("BEAM", "CTC_GREEDY", "CTC_BEAM"))
    for more in (*methods, "chunk_size=null", "unit=CHARACTER"):
        status, _, err = command("decode", averaged, f"out={tmp_path}", more)
        assert status == 0, (more, err)
    assert len(list(tmp_path.glob("*.json"))) == 5


def test_another_choice_from_each_list(averaged, command, refused, tmp_path):
    beam = "unit=CHARACTER", "search.method=BEAM", "search.blank_penalty=6"
    status, _, err = command("decode", averaged, f"out={tmp_path}", *beam, "oracle=true")
    assert status == 0, err
    reports = {path.name.split("-beam")[0]: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert reports["test-oracle"]["rate"] <= reports["test"]["rate"] and reports["test-oracle"]["settings"]["beam"] == 4
    assert "needs a model trained with an attention decoder" in refused(
        "decode", averaged, f"out={tmp_path}", *beam, "attention_scale=1"
    )


def rename_speaker(source: Path, folder: Path, old: str, new: str) -> Path:
    """The recordings of one speaker under another name: `fsdd-<new>.tar` and its manifest."""
    folder.mkdir()
    with tarfile.open(source / f"fsdd-{old}.tar") as before, tarfile.open(folder / f"fsdd-{new}.tar", "w") as after:
        for member in before:
            content = before.extractfile(member).read()
            member.name = member.name.replace(old, new)
            after.addfile(member, io.BytesIO(content))
    header, *rows = (source / "manifest.tsv").read_text().splitlines()
    rows = [row.replace(old, new) for row in rows if f"\t{old}\t" in row]
    (folder / "manifest.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def stranger(data_dir, tmp_path_factory) -> tuple[Path, Path]:
    """A list of three strings by a speaker whom nothing was ever told of, and the folder of the recordings."""
    from asr.recipes.digits.prepare import list_path

    folder = tmp_path_factory.mktemp("stranger")
    recordings = rename_speaker(data_dir / "fsdd", folder / "recordings", "george", "zoe-2")
    header, *rows = list_path("test").read_text(encoding="utf-8").splitlines()
    rows = [row.replace("george", "zoe-2") for row in rows if "\tgeorge\t" in row][:3]
    (folder / "strangers.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder / "strangers.tsv", recordings


def test_decode_a_list_with_a_speaker_never_seen(averaged, stranger, command, tmp_path):
    strings, recordings = stranger
    where = (f"data.list={strings}", f"data.recordings={recordings}", f"out={tmp_path}")
    status, out, err = command("decode", averaged, *where)
    assert status == 0, err
    listing = next(tmp_path.glob("strangers-*.txt")).read_text()
    for row in strings.read_text().splitlines()[1:]:
        assert row.split("\t")[0] in listing
    status, _, err = command("decode", averaged, *where, "data.speaker=zoe-2", "data.levelled=false")
    assert status == 0, err
    found = {path.name.split("-greedy")[0]: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    levelled = {name: report["settings"]["levelled"] for name, report in found.items()}
    assert levelled == {"strangers": True, "strangers-raw-zoe-2": False}
    assert found["strangers-raw-zoe-2"]["settings"]["speaker"] == "zoe-2"


def test_bad_lists(averaged, stranger, refused, tmp_path):
    strings, recordings = stranger
    assert "go together" in refused("decode", averaged, f"data.list={strings}")
    assert "manifest.tsv" in refused("decode", averaged, f"data.list={strings}", f"data.recordings={tmp_path}")
    shutil.copyfile(recordings / "manifest.tsv", tmp_path / "manifest.tsv")
    assert "fsdd-zoe-2.tar" in refused("decode", averaged, f"data.list={strings}", f"data.recordings={tmp_path}")
    for other in ("data.splits=[dev]", f"data.folder={tmp_path}"):
        line = refused("decode", averaged, f"data.list={strings}", f"data.recordings={recordings}", other)
        assert "data.list takes the place of data.folder and data.splits" in line
    assert "nobody" in refused(
        "decode", averaged, f"data.list={strings}", f"data.recordings={recordings}", "data.speaker=nobody"
    )
    assert "nowhere.tsv" in refused(
        "decode", averaged, f"data.list={tmp_path / 'nowhere.tsv'}", f"data.recordings={recordings}"
    )
    broken = tmp_path / "broken.tsv"
    broken.write_text(strings.read_text().replace("\t", " "))
    assert "broken.tsv, row 1" in refused("decode", averaged, f"data.list={broken}", f"data.recordings={recordings}")


def test_bad_places(averaged, corpus, refused, tmp_path):
    assert "cuts-nope" in refused("decode", averaged, "data.splits=[nope]")
    assert "cuts-test" in refused("decode", averaged, f"data.folder={tmp_path}")
    assert "must be a multiple of 2" in refused("decode", averaged, "chunk_size=15")
    (tmp_path / "file").write_text("")
    assert "file" in refused("decode", averaged, f"out={tmp_path / 'file' / 'results'}")
    assert "file" in refused("train", *overrides(corpus, tmp_path / "file"))
    assert "tokenizer" in refused("train", *overrides(tmp_path / "empty", tmp_path / "run"))


def test_info(averaged, run_dir, command):
    status, out, _ = command("info", averaged)
    text = "\n".join(out)
    assert status == 0 and "tiny" in text and "streams" in text and "dev WER" in text
    status, out, _ = command("info", run_dir)
    assert status == 0 and "6 steps" in "\n".join(out)
    status, out, _ = command("info")
    assert status == 0 and "torch" in "\n".join(out)


def test_transcribe_and_stream(averaged, corpus, command):
    files = sorted((corpus / "audio" / "test").glob("*.flac"))[:2]
    status, out, err = command("transcribe", averaged, *files)
    assert status == 0, err
    assert [line.split("\t")[0] for line in out] == [str(path) for path in files]
    status, out, err = command("stream", averaged, files[0])
    assert status == 0, err
    text = "\n".join(out)
    assert " s  " in out[0]
    assert all(figure in text for figure in ("algorithmic latency", "updates that took text back", "real-time factor"))


def test_bad_audio(averaged, command, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF and then nothing")
    status, out, err = command("transcribe", averaged, tmp_path / "noise.wav", tmp_path / "none.wav")
    assert status == 1 and not out and len(err) == 2
    assert all(line.startswith("asr transcribe: ") for line in err)
