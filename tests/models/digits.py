"""A small model that knows English digits, for tests that must hear words: trained once, in a minute or so, and kept.

python -m tests.models.digits    prints where it is
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr.recipes.digits.prepare import list_path
from asr.recipes.stages import fingerprint, replacing
from tests.conftest import DATA_DIR, REPO

SIZES = {"train": 1400, "dev": 20, "test": 1}
"""How many strings of each list are built. What tests hear they build themselves, from the test list."""
TRAINING = [
    "model.encoder.embed_channels=[8,16,32]",
    "model.encoder.encoder_dims=[64,96,96,64]",
    "model.encoder.unmasked_dims=[64,64,64,64]",
    "model.encoder.feedforward_dims=[192,256,256,192]",
    "data.speeds=[1.0]",
    "augment.warp=null",
    "augment.masks=null",
    "loss.warm_steps=100",
    "schedule.warmup_steps=50",
    "training.num_steps=600",
    "training.validate_every=600",
    "training.checkpoint_every=600",
]


def digits_model() -> Path:
    """The checkpoint; who asks first makes it, in a process of its own, while others wait.

    It is made anew when the recipe or this file changes; after changes in the code of models, `make clean` forgets it.
    Where `RILL_OTHER_PYTHON` names a Python, that one trains: not every version that decodes is promised to train.
    The asking test is skipped without recordings, or without that Python.
    """
    if not (path := place()).exists():
        python = os.environ.get("RILL_OTHER_PYTHON", sys.executable)
        if not (DATA_DIR / "fsdd").exists():
            pytest.skip(f"no recordings at {DATA_DIR / 'fsdd'} to train the digits model on; set RILL_DATA_DIR")
        if not Path(python).is_file():
            pytest.skip(f"no Python at {python!r} to train the digits model with; make setup provides one")
        subprocess.run([python, "-m", "tests.models.digits"], cwd=REPO, stdout=sys.stderr, check=True)
    return path


def place() -> Path:
    """Where the model belongs; another place for another recipe."""
    recipe = REPO / "tests" / "conf" / "snapshots" / "digits.yaml"
    name = fingerprint(*(path.read_bytes() for path in (recipe, list_path("train"), Path(__file__))))[:12]
    return REPO / "build" / "tests" / f"digits-{name}" / "model.safetensors"


def main() -> None:
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            print("training the tests' digits model, once; a minute or two", file=sys.stderr, flush=True)
            train(path)
    print(path)


def train(path: Path) -> None:
    """Prepare, train, and leave nothing but the model; goes on where it was interrupted."""
    from asr.checkpoint.model import load_model, save_model

    corpus, run = path.with_name("corpus"), path.with_name("run")
    prepare(corpus)
    asr("train", "recipe=digits", f"data.folder={corpus}", f"run_dir={run}", *TRAINING)
    loaded = load_model(run)
    with replacing(path) as part:
        save_model(part, loaded.model, loaded.tokenizer)
    shutil.rmtree(corpus)
    shutil.rmtree(run)


def prepare(corpus: Path) -> None:
    """The first strings of the published lists, from the real recordings."""
    lists = corpus / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    for split, size in SIZES.items():
        rows = list_path(split).read_text(encoding="utf-8").splitlines()[: size + 1]
        (lists / f"digit-strings-{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    places = {"source": DATA_DIR / "fsdd", "lists": lists, "out": corpus, "speeds": "[1.0]", "num_workers": 1}
    asr("prepare", "recipe=digits", *(f"corpus.{key}={value}" for key, value in places.items()))


def asr(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "asr.cli.main", *arguments], stdout=sys.stderr, check=True)


if __name__ == "__main__":
    main()
