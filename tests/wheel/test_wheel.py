"""The wheel, not the checkout: what a user installs must compose every recipe and carry its data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PROGRAM = """
import asr, asr.conf, asr.recipes
assert asr.__file__.startswith({folder!r}), asr.__file__
from asr.config.compose import compose
from asr.recipes.digits.lists import read_list
from asr.recipes.digits.prepare import list_path
for recipe in {recipes!r}:
    assert compose("train", [f"recipe={{recipe}}"]).name
assert len(read_list(list_path("test"))) == 300
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(REPO)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_every_recipe_composes_from_the_wheel(wheel: Path, tmp_path: Path):
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    recipes = [path.stem for path in sorted((REPO / "conf" / "recipe").glob("*.yaml"))]
    program = PROGRAM.format(folder=str(installed), recipes=recipes)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_wheel_holds_no_tests_and_no_audio(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith("tests/") or name.endswith((".flac", ".wav", ".tar"))]
    assert "asr/recipes/digits/NOTICE.md" in names
    page = {path.name for path in (REPO / "asr" / "serving" / "page").iterdir()}
    assert page and {f"asr/serving/page/{name}" for name in page} <= set(names)
