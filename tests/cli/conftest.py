from pathlib import Path

import pytest

from tests.training.child import asr
from tests.training.tiny import overrides


@pytest.fixture(scope="session")
def run_dir(corpus: Path, tmp_path_factory) -> Path:
    """The folder of a short run with three checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    length = ["training.num_steps=6", "training.checkpoint_every=2", "training.average_period=2"]
    outcome = asr(["train", *overrides(corpus, folder, *length)], folder / "log")
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture
def command(capfd):
    """`command("decode", ...)` runs `asr decode ...` in this process: its status and the lines of both streams."""
    from asr.cli.main import main

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def refused(command):
    """Runs a command that must fail with one line on stderr, and gives that line."""

    def run(*arguments: object) -> str:
        status, out, err = command(*arguments)
        assert status in (1, 2) and len(err) == 1, (status, out, err)
        assert err[0].startswith("asr") and "Traceback" not in err[0] and "unexpected" not in err[0]
        return err[0]

    return run
