"""Shards are read from anywhere, by the names in their index, and what goes wrong is one sentence."""

from __future__ import annotations

import functools
import json
import shlex
import shutil
import sys
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from lhotse import CutSet

from asr.data import DataConfig, FeatureSource, train_loader
from asr.data.config import MAX_SHARD_CUTS
from asr.data.loading import load_samples
from asr.data.shards import INDEX, read_shards, write_shards
from asr.errors import DataError
from asr.text import train_tokenizer

FETCH = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"


@pytest.fixture(scope="module")
def shards(cuts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "train"
    assert write_shards(cuts, folder, shard_size=12) == 3  # thirty utterances
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(shards):
    """The address of the shards on a server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(shards.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{shards.name}"
    server.shutdown()
    server.server_close()


def same(found, cuts) -> bool:
    pairs = list(zip(found, cuts, strict=True))
    assert all(torch.allclose(load_samples(a), load_samples(b), atol=1e-3) for a, b in pairs)
    return [a.id for a, _ in pairs] == [b.id for _, b in pairs]


def test_from_a_folder_or_a_command(shards, cuts):
    for address in (str(shards), f"{shards}/", f"pipe:cat {shards}"):
        found = read_shards(address)
        assert same(found, cuts) and same(found, cuts), address  # every pass begins anew


def test_from_a_server(served, cuts):
    assert same(read_shards(f"pipe:{shlex.quote(sys.executable)} -c '{FETCH}' {served}"), cuts)


def test_from_a_url(served, cuts):
    pytest.importorskip("smart_open", reason="no smart_open, which lhotse opens URLs with")
    pytest.importorskip("requests", reason="no requests, which smart_open needs for http")
    assert same(read_shards(served), cuts)
    with pytest.raises(DataError, match="cannot be read"):
        read_shards(served + "/nothing")


def test_a_url_without_the_package_that_opens_it(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "smart_open", None)
    monkeypatch.setattr("asr.data.shards.find_spec", lambda _: None)
    monkeypatch.setattr(
        "asr.data.shards.open_best", lambda *_: (_ for _ in ()).throw(ValueError("a URI\nof two lines"))
    )
    with pytest.raises(DataError, match=r"pip install 'smart_open\[http\].*pipe:curl -sfL http") as caught:
        read_shards(served)
    assert "\n" not in str(caught.value)


def test_folders_of_lhotse_and_by_lhotse(shards, cuts, tmp_path):
    """Ours are read by lhotse itself; its own, without index, by us."""
    assert same(CutSet.from_shar(in_dir=shards), cuts)
    theirs = shutil.copytree(shards, tmp_path / "theirs")
    (theirs / INDEX).unlink()
    assert same(read_shards(str(theirs)), cuts)


def test_what_is_missing_is_told(shards, tmp_path):
    with pytest.raises(DataError, match=f"cannot be read .*{INDEX}"):
        read_shards(f"pipe:cat {tmp_path} 2>&-")
    less = shutil.copytree(shards, tmp_path / "less")
    index = json.loads((less / INDEX).read_text())
    (less / index["recording"][1]).unlink()
    for address in (str(less), f"pipe:2>/dev/null cat {less}"):
        with pytest.raises(DataError, match="data.shards=") as caught:
            list(read_shards(address))
        assert "\n" not in str(caught.value)
    (less / INDEX).write_text(json.dumps({**index, "cuts": index["cuts"][:1], "recording": index["recording"][:1]}))
    with pytest.raises(DataError, match="gave 12 of 30 utterances"):
        list(read_shards(str(less)))


def test_workers_read_batches_from_a_command(shards):
    data = DataConfig(shards=f"pipe:cat {shards}", speeds=[1.0, 0.9], max_duration_s=8.0, num_buckets=2, num_workers=1)
    data = replace(data, features=FeatureSource.ON_THE_FLY)
    loader = train_loader(data, train_tokenizer("char", ["zero one two three four five"]), None)
    ids = [id for batch in loader.epoch(0) for id in batch.ids]
    assert len(ids) == len(set(ids)) == 60


def test_few_utterances_with_audio_wait_in_memory():
    assert DataConfig(buffer_cuts=150_000).order_cuts == 150_000
    assert DataConfig(buffer_cuts=150_000, shards="x").order_cuts == MAX_SHARD_CUTS < 150_000
    assert DataConfig(buffer_cuts=50, shards="x").order_cuts == 50
