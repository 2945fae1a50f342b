"""Asking what there is costs nothing, and a slip gets one line of advice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asr.cli.main import COMMANDS
from tests.conftest import REPO

HEAVY = {
    "torch",
    "torchaudio",
    "lhotse",
    "hydra",
    "omegaconf",
    "numpy",
    "soundfile",
    "sentencepiece",
    "onnx",
    "uvicorn",
    "starlette",
}
HELP_OF_EVERYTHING = """
import sys
from asr.cli.main import COMMANDS, main
assert main(["--help"]) == 0
assert main(["--version"]) == 0
for name in COMMANDS:
    try:
        main([name, "--help"])
    except SystemExit as end:
        assert not end.code, name
    else:
        raise AssertionError(name)
print("imported:", *sys.modules)
"""


@pytest.fixture(scope="module")
def helped() -> str:
    """What every `--help` prints, and behind it what had to be imported for that."""
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EVERYTHING], capture_output=True, text=True, check=False, cwd=REPO
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_help_lists_every_command(helped):
    first = helped.split("usage:")[1]
    assert all(f"\n  {name} " in first and about in first for name, about in COMMANDS.items())


def test_every_command_explains_itself(helped):
    for name in COMMANDS:
        assert f"usage: asr {name}" in helped


def test_help_imports_nothing_heavy(helped):
    imported = helped.rsplit("imported:", 1)[1].split()
    assert "asr.cli.decode" in imported
    assert not HEAVY & set(imported)


def test_installed_script():
    from importlib.metadata import entry_points

    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "asr")
    assert script.value == "asr.cli.main:main"


def test_nothing_at_all_is_wrong_usage(command):
    status, out, _ = command()
    assert status == 2 and out[0].startswith("usage: asr")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["trian"], "did you mean `asr train`?"),
        (["qqq"], "`asr --help` lists them"),
        (["train", "--steps=3"], "unknown option --steps=3; settings are given as key=value"),
        (["train", "digits"], "'digits' is one argument too many"),
        (["decode"], "something is missing: usage: asr decode"),
        (["decode", "a", "b"], "'b' is one argument too many"),
        (["average"], "something is missing: usage: asr average"),
        (["export"], "something is missing: usage: asr export"),
        (["stream"], "something is missing: usage: asr stream"),
        (["serve"], "something is missing: usage: asr serve"),
        (["serve", "x", "port=70000"], "port=70000 must lie between 0 and 65535"),
        (["serve", "x", "limits.idle_s=0"], "limits.idle_s=0.0 must be above 0"),
        (["transcribe", "x"], "something is missing: usage: asr transcribe"),
        (["import-icefall", "x"], "something is missing: usage: asr import-icefall"),
        (["info", "a", "b"], "'b' is one argument too many"),
        (["prepare"], "no recipe was named"),
        (["prepare", "recipe=digits", "stages=cook"], "stages=cook is unknown; choose from download, "),
        (["train", "recipe=digits", "training.num_stepz=1"], "did you mean training.num_steps?"),
        (["train", "recipe=nope"], "demo, digits, "),
        (["decode", "x", "chunk=16"], "chunk is no setting; did you mean chunk_size?"),
        (["prepare", "recipe=digits", "corpus.num_workers=0"], "corpus.num_workers=0 must be 1 or more"),
    ],
    ids=" ".join,
)
def test_slips(refused, arguments, advice):
    assert advice in refused(*arguments)


def test_recipes_of_ones_own(command, refused, tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\nname: mine\ntraining:\n  num_steps: 7\n")
    status, out, err = command("train", "recipe=mine", f"--config-dir={tmp_path}", "augment.noise.prob=0.1", "--cfg")
    assert status == 0 and "name: mine" in out and "  num_steps: 7" in out, err
    assert "mine" in refused("train", "recipe=nope", f"--config-dir={tmp_path}")
    assert "is no folder" in refused("train", "recipe=mine", f"--config-dir={tmp_path / 'none'}")


def test_configuration_is_shown_and_checked(command, refused):
    status, out, _ = command("train", "recipe=digits", "training.num_steps=77", "--cfg")
    assert status == 0 and "  num_steps: 77" in out
    assert "training.num_steps=0 must be at least 1" in refused(
        "train", "recipe=digits", "training.num_steps=0", "--cfg"
    )


def test_a_reader_that_has_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "asr.cli.main", "--help"], stdout=gone, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "")
