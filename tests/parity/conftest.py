"""Parity tests say what they could not compare, and run once for each tiny model there is."""

from __future__ import annotations

import pytest

from tests.conftest import GOLDEN_DIR

_LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.fixture
def left_out(request):
    """Note what a test had to leave out; the notes end up under the test report."""
    notes = request.config.stash.setdefault(_LEFT_OUT, [])
    return lambda note: notes.append(f"{request.node.name}: {note}")


def pytest_terminal_summary(terminalreporter, config):
    notes = config.stash.get(_LEFT_OUT, [])
    if notes:
        terminalreporter.section("reference numbers left out")
        for note in notes:
            terminalreporter.write_line(note)


def pytest_generate_tests(metafunc):
    """`tiny_kind`: each model that has a tiny_<kind>_config.csv; pytest reports a skip where there is none."""
    if "tiny_kind" in metafunc.fixturenames:
        files = sorted(GOLDEN_DIR.glob("tiny_*_config.csv"))
        kinds = [file.name.removeprefix("tiny_").removesuffix("_config.csv") for file in files]
        metafunc.parametrize("tiny_kind", kinds)
