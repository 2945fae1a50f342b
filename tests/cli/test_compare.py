"""Runs beside each other, and streamed beside direct outputs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr.checkpoint.model import save_model
from asr.cli.decode import beside_search, report_path
from asr.config import decode_config
from asr.data import cuts_path, read_cuts
from asr.decoding.config import HotwordConfig, LatticeConfig, SearchConfig, SearchMethod
from asr.evaluation import Unit
from asr.models.transducer import Transducer
from asr.text import CharTokenizer
from tests.streaming.test_encoders import tiny_model as tiny_encoder
from tests.streaming.tiny_recognizer import tiny_model

LATTICE = ("num_paths", "nbest_scale", "rescore_scale", "search_beam", "output_beam", "min_active_states")
TOKENIZER = CharTokenizer.train(["zero one two three four five six seven eight nine"])


@pytest.fixture
def run(corpus, tmp_path):
    """The folder of a run that never was."""

    def make(name: str, model: Transducer):
        (tmp_path / name).mkdir()
        origin = {"folder": str(corpus), "test": ["dev"], "name": name}
        save_model(tmp_path / name / "averaged.safetensors", model, TOKENIZER, origin=origin)
        return tmp_path / name

    return make


def test_runs_in_one_table(run, command, refused):
    folder = run("first", tiny_model(TOKENIZER.vocab_size))
    assert "has no result on dev; run `asr decode" in refused("compare", folder)
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 7, "cpu_s": 2.0, "hours": 0.01}\n')
    for chunks in (["chunk_size=16", "left_context=32"], ["chunk_size=null"]):
        assert command("decode", folder, *chunks)[0] == 0
    status, out, err = command("compare", folder, folder)
    assert status == 0, err
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out[2:]]
    assert rows[:2] == rows[2:] and all(row[:2] == ["first", "zipformer"] for row in rows)
    assert all(row[3:8] == ["7", "2", "18.0", "dev", "greedy"] for row in rows)
    assert sorted(row[8] for row in rows[:2]) == ["16/32", "whole"]
    assert all(float(row[-1]) > 0 for row in rows)  # how fast each was, streamed or not


def test_results_that_differ_in_one_setting_stand_beside_each_other(run, command, corpus, tmp_path):
    folder = run("settings", tiny_model(TOKENIZER.vocab_size))
    speaker = next(iter(read_cuts(cuts_path(corpus, "dev")))).supervisions[0].speaker
    other = shutil.copytree(corpus, tmp_path / "elsewhere")
    ways = [[], ["search.blank_penalty=2"], ["search.method=BEAM", "search.beam=2"], [f"data.speaker={speaker}"]]
    ways += [["unit=CHARACTER"], ["unit=WORD"], [f"data.folder={other}"], [f"data.folder={corpus}/../{corpus.name}"]]
    for way in ways:
        status, out, err = command("decode", folder, "chunk_size=16", "left_context=32", *way)
        assert status == 0, err
    names = {path.stem for path in (folder / "results").glob("*.json")}
    elsewhere = next(name for name in names if name.startswith("dev-elsewhere-greedy-chunk-16-left-32-folder-"))
    assert names == {
        "dev-greedy-chunk-16-left-32",
        "dev-greedy-chunk-16-left-32-blank_penalty-2.0",
        "dev-beam-chunk-16-left-32-beam-2",
        f"dev-{speaker}-greedy-chunk-16-left-32",
        "dev-greedy-chunk-16-left-32-unit-character",
        elsewhere,
    }
    assert names == {path.stem for path in (folder / "results").glob("*.txt")}
    status, out, err = command("compare", folder)
    assert status == 0, err
    shown = sorted(" ".join(cell.strip() for cell in line.strip("|").split("|")[6:8]) for line in out[2:])
    own = ["dev beam beam=2", "dev greedy", "dev greedy blank_penalty=2.0", "dev greedy unit=character"]
    assert shown == [*own, f"dev-{speaker} greedy"], "another corpus' split is not the model's test set"
    assert command("report", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert f"dev-{speaker}, greedy 16/32: WER" in page and "dev, greedy blank_penalty=2.0 16/32: WER" in page


def test_names_of_files_hold_what_was_set():
    def name(what: str = "test", beside=None, **settings) -> str:
        return report_path(Path(), what, SearchConfig(**settings), 32, 128, beside=beside).name

    assert name() == "test-greedy-chunk-32-left-128.json"
    hotwords = [HotwordConfig(phrases=phrases) for phrases in (["one"], ["two"])]
    steered = [name(method=SearchMethod.BEAM, hotwords=given) for given in hotwords]
    assert steered[0] != steered[1] and all(
        each.startswith("test-beam-hotwords-chunk-32-left-128-") for each in steered
    )
    lattices = [LatticeConfig(**dict.fromkeys(LATTICE, number)) for number in (3, 4)]
    many = [name(method=SearchMethod.K2_FAST_BEAM, lattice=lattice) for lattice in lattices]
    assert many[0] != many[1] and max(map(len, many)) < 100
    assert name(beside={"attention_scale": 0.5}) == "test-greedy-chunk-32-left-128-attention_scale-0.5.json"
    assert name("test-a/b") == "test-a_b-greedy-chunk-32-left-128.json"


def test_what_lies_beside_the_search_is_told_where_it_is_unusual():
    model = SimpleNamespace(metadata={"origin": {"folder": "data/corpus", "unit": "character"}})

    def beside(choice: str | None = None, **settings):
        return beside_search(model, decode_config.DecodeConfig(checkpoint="x", **settings), choice)

    assert (
        beside()
        == beside(unit=Unit.CHARACTER)
        == beside(data=decode_config.TestSetConfig(folder="./data/corpus"))
        == {}
    )
    assert beside(unit=Unit.WORD) == {"unit": "word"}
    scaled = {"search": SearchConfig(method=SearchMethod.BEAM), "attention_scale": 0.5}
    assert beside("rescored", **scaled) == {"attention_scale": 0.5} and beside("oracle", **scaled) == {}
    assert beside(data=decode_config.TestSetConfig(folder="other")) == {"folder": str(Path("other").resolve())}


def test_what_was_never_trained_is_warned_of(run, command, caplog):
    model = tiny_model(TOKENIZER.vocab_size)
    model.config.encoder.lookaheads = [0, 12]
    assert command("decode", run("ahead", model), "chunk_size=16", "left_context=32", "lookahead=4")[0] == 0
    assert "trained with lookahead 0 or 12 and may hear worse with lookahead=4" in caplog.text


def test_streamed_and_direct_are_drawn(run, command, tmp_path):
    folder = run("drawn", tiny_model(TOKENIZER.vocab_size))
    picture = tmp_path / "difference.png"
    status, out, err = command("equality", folder, "chunk_size=16", "left_context=32", "lookahead=4", f"out={picture}")
    assert status == 0, err
    assert float(out[-1].split()[2]) < 1e-4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_stream_is_not_drawn(tmp_path, refused):
    model = tiny_encoder("conformer")
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
    assert tokenizer.vocab_size == model.config.vocab_size
    save_model(tmp_path / "averaged.safetensors", model, tokenizer)
    assert "hears whole utterances only" in refused("equality", tmp_path)
