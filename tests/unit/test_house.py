"""The walls between the rooms of the house."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
ASR = REPO / "asr"

# A room may import from earlier lines and from itself; siblings on one line meet in a later one.
ORDER = [
    ["tensors", "errors"],
    ["kernels"],
    ["text", "features", "nn"],
    ["data", "models"],
    ["losses", "optim", "decoding"],
    ["checkpoint", "evaluation"],
    ["streaming", "training"],
    ["export", "serving"],
    ["config"],
    ["bench"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
OUTSIDE = {"conf", "recipes"}  # installed beside the rooms, chosen and called by name from config and cli alone


def sources() -> list[Path]:
    return sorted(ASR.rglob("*.py"))


def room_of(path: Path) -> str | None:
    """The room of a file; None for the package's own `__init__`."""
    first = path.relative_to(ASR).parts[0].removesuffix(".py")
    return None if first == "__init__" else first


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Dotted names that a file imports, wherever it does, with the line."""
    package = ["asr", *path.relative_to(ASR).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from asr import nn` names a room only together with what it imports
            names = [f"asr.{alias.name}" for alias in node.names] if module == "asr" else [module]
            yield from ((node.lineno, name) for name in names)


def test_every_room_has_its_place():
    assert {room_of(path) for path in sources()} - {None} <= set(LEVEL)


def test_imports_flow_one_way():
    wrong = []
    for path in sources():
        room = room_of(path)
        for line, name in imports(path):
            parts = name.split(".")
            if room is None or parts[0] != "asr" or parts[1:2] in ([], [room], ["__version__"]):
                continue
            allowed = LEVEL.get(parts[1], LEVEL["config"] - 1) < LEVEL[room]
            if not allowed or parts[1] not in {*LEVEL, *OUTSIDE}:
                wrong.append(f"{path.relative_to(REPO)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_room_before_config_knows_hydra():
    wrong = [
        f"{path.relative_to(REPO)}:{line} imports {name}"
        for path in sources()
        for line, name in imports(path)
        if LEVEL.get(room_of(path) or "", 0) < LEVEL["config"] and name.split(".")[0] in {"hydra", "omegaconf"}
    ]
    assert not wrong, "\n".join(wrong)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True)
    return done.stdout.strip()


def test_a_live_stream_needs_no_corpus_no_training_and_no_configuration():
    heavy = ["lhotse", "hydra", "omegaconf", "matplotlib", "tensorboard", "asr.data", "asr.training", "asr.config"]
    assert run_python(f"import sys, asr.streaming; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_importing_the_package_loads_nothing():
    assert run_python("import sys, asr; print('torch' in sys.modules)") == "False"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=REPO)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [REPO / name for name in listed.stdout.split("\0") if name and (REPO / name).is_file()]


def test_there_is_no_room_for_odds_and_ends():
    banned = {"utils", "util", "helpers", "common", "misc"}
    assert not [path for path in tracked() if path.suffix == ".py" and path.stem in banned]


def test_nothing_depends_on_where_it_was_written():
    # pieced together, for this file is searched too
    traces = re.compile(rb"(?<![\w./-])/" + rb"work/|(?<!\w)\." + b"library")
    found = [str(path.relative_to(REPO)) for path in tracked() if traces.search(path.read_bytes())]
    assert not found


def package_folders() -> set[str]:
    """Dotted names of all folders that are packages, as they are installed."""
    roots = {"asr": ASR, "asr.conf": REPO / "conf", "asr.recipes": REPO / "recipes"}
    found = set()
    for name, root in roots.items():
        for init in root.rglob("*.py"):
            found.add(".".join([name, *init.parent.relative_to(root).parts]))
    return found


def test_every_package_is_installed():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == package_folders()
    assert settings["package-dir"] == {"asr": "asr", "asr.conf": "conf", "asr.recipes": "recipes"}


def test_every_source_folder_is_a_package():
    folders = {path.parent for root in (ASR, REPO / "conf", REPO / "recipes") for path in root.rglob("*.py")}
    assert not [str(folder.relative_to(REPO)) for folder in folders if not (folder / "__init__.py").exists()]
