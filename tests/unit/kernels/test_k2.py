"""A k2 that is missing or broken: what is said, and that nothing else suffers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.errors import ConfigError
from asr.kernels import k2
from asr.losses import Backend, smoothed_transducer_loss

BROKEN = {
    "made for another torch": ("raise ImportError('k2 was built for torch 1.9')", "k2 was built for torch 1.9"),
    "with no compiled part": ("import _k2_that_is_not_there", "No module named '_k2_that_is_not_there'"),
    "that ends the process": ("import os; os.abort()", "the process ended with"),
}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN.keys())
def broken(request, tmp_path, monkeypatch) -> str:
    """Installs such a k2 for this test; returns what its failure says."""
    source, reason = request.param
    (tmp_path / "k2.py").write_text(source, encoding="utf-8")
    installed = tmp_path / "k2-9.9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: k2\nVersion: 9.9\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "k2", raising=False)
    k2.load_k2.cache_clear()
    yield reason
    k2.load_k2.cache_clear()


@pytest.fixture
def missing(monkeypatch):
    """No k2 at all."""
    monkeypatch.setitem(sys.modules, "k2", None)
    monkeypatch.setattr(k2, "installed_version", lambda: None)
    k2.load_k2.cache_clear()
    yield
    k2.load_k2.cache_clear()


def test_a_broken_k2_is_reported_with_what_to_do(broken):
    report = k2.report_k2()
    assert report.version == "9.9" and not report.loads
    assert broken in report.detail and "install the k2 build made for them" in report.detail
    assert f"torch {torch.__version__}" in report.detail


def test_the_report_tells_what_python_a_library_is_for(tmp_path, monkeypatch):
    (tmp_path / "k2.py").write_text("import _k2", encoding="utf-8")
    installed = tmp_path / "k2-1.23.4.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: k2\nVersion: 1.23.4\n", encoding="utf-8")
    (installed / "RECORD").write_text(
        "_k2.cpython-39-x86_64-linux-gnu.so,,\nk2/lib/libk2_context.so,,\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    detail = k2.report_k2().detail
    assert "its library is _k2.cpython-39-x86_64-linux-gnu.so" in detail and "requirements-k2.txt" in detail


def test_a_missing_k2_is_reported_as_optional(missing):
    report = k2.report_k2()
    assert report.version is None and report.detail.startswith("not installed; optional")


def test_without_k2_its_search_says_what_is_missing(missing):
    predictor = SimpleNamespace(vocab_size=5, context_size=1, blank_id=0)
    model = SimpleNamespace(predictor=predictor, joiner=None, has_transducer=True)
    with pytest.raises(ConfigError, match="k2 is not installed, and this needs it"):
        build_search(SearchConfig(method=SearchMethod.K2_FAST_BEAM), model)


def batch() -> tuple[torch.Tensor, ...]:
    return torch.randn(1, 4, 5), torch.randn(1, 3, 5), torch.tensor([[1, 2]]), torch.tensor([2]), torch.tensor([4])


def test_without_k2_losses_are_computed_all_the_same(missing):
    assert smoothed_transducer_loss(*batch(), backend=Backend.AUTO).loss.isfinite().all()
    with pytest.raises(ConfigError, match="k2 is not installed"):
        smoothed_transducer_loss(*batch(), backend=Backend.K2)


def test_importing_the_library_never_imports_k2():
    code = "import sys, asr.losses, asr.decoding, asr.streaming; print('k2' in sys.modules)"
    repo = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo)
    assert done.stdout.strip() == "False" or "No module named" in done.stderr
