"""k2, where there is one that works. Nothing needs it, and nothing else here imports it by name.

k2 gives fast pruned losses on a GPU, and search over automata. A build of it fits one version of Python and one of
torch; any other fails to load, in ways that go from an ImportError to the end of the process.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, NamedTuple

import torch

from asr.errors import ConfigError

INSTALL = (
    'with Python 3.10 and torch 1.13.1 on Linux, pip install "rill-asr[k2]" brings all it needs, and '
    "requirements-k2.txt (docs/k2.md) names its wheel that loads there, as pip may choose one for another Python; "
    "for other versions install the k2 build made for them, from k2's own list of wheels"
)


class K2Report(NamedTuple):
    """What was found out about k2 without endangering this process."""

    version: str | None
    """None where no k2 is installed."""
    loads: bool
    """Whether its compiled part loads and works."""
    detail: str
    """How it was built, or why it does not load and what to do."""


@lru_cache(maxsize=1)
def load_k2() -> Any:
    """The module k2; raises ConfigError, saying what to do, where there is none that loads."""
    try:
        import k2
    except Exception as error:  # a build for another torch fails as it likes
        raise ConfigError(why_unusable(installed_version(), f"{type(error).__name__}: {error}")) from error
    return k2


def has_k2() -> bool:
    """Whether k2 can be used in this process."""
    if installed_version() is None:
        return False
    try:
        load_k2()
    except ConfigError:
        return False
    return True


def installed_version() -> str | None:
    """The version its package names; None where it is not installed."""
    try:
        return version("k2")
    except PackageNotFoundError:
        return None


def why_unusable(found: str | None, error: str) -> str:
    """One sentence: what is wrong with k2 and what to do."""
    if found is None:
        return f"k2 is not installed, and this needs it: {INSTALL}"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    first = error.strip().splitlines()[0] if error.strip() else "no reason given"
    if made_for := _libraries():
        first += f"; its library is {made_for[0]}"
    return f"k2 {found} does not load beside torch {torch.__version__} and Python {python} ({first}): {INSTALL}"


def _libraries() -> list[str]:
    """Names of its compiled part, which tell the Python that it was built for."""
    files = distribution("k2").files or []
    return [file.name for file in files if file.name.startswith("_k2.") and file.suffix == ".so"]


_PROBE = """
import k2
assert k2.shortest_path(k2.create_fsa_vec([k2.linear_fsa([1, 2])]), True).shape[0] == 1
print(f"built for torch {k2.k2_torch_version}, {'with' if k2.with_cuda else 'without'} CUDA")
"""


def report_k2() -> K2Report:
    """Load and use k2 in a process of its own, for a build that does not fit may end the process it is loaded into."""
    found = installed_version()
    if found is None:
        return K2Report(None, False, f"not installed; optional: {INSTALL}")
    probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True)
    if probe.returncode == 0:
        return K2Report(found, True, probe.stdout.strip())
    ending = f"the process ended with {probe.returncode}"
    return K2Report(found, False, why_unusable(found, (probe.stderr.strip().splitlines() or [ending])[-1]))
