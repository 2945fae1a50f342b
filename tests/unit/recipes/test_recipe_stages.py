import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from asr.errors import DataError
from asr.recipes.fetch import fetch
from asr.recipes.stages import Stage, fingerprint, in_parallel, replacing

CONTENT = bytes(range(256)) * 40


class Home(ThreadingHTTPServer):
    """A stand-in for a corpus' public home, with the habits that real ones have."""

    def __init__(self, content: bytes = CONTENT, *, ranges: bool = True, break_first: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges, self.break_first = content, ranges, break_first
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *args) -> None:
        self.shutdown()
        super().__exit__(*args)


class _Handler(BaseHTTPRequestHandler):
    server: Home

    def do_GET(self) -> None:
        home, asked = self.server, self.headers.get("Range")
        home.asked.append((self.path, asked))
        if "missing" in self.path:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and home.ranges else 0
        if start >= len(home.content):
            self.send_error(416)
            return
        rest = home.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if home.break_first and len(home.asked) == 1 else rest)

    def log_message(self, *args) -> None:
        pass


def test_fetch_goes_on_where_the_connection_broke(tmp_path) -> None:
    with Home(break_first=True) as home:
        fetch(f"{home.url}/a", tmp_path / "deep" / "a")
        assert (tmp_path / "deep" / "a").read_bytes() == CONTENT
        assert home.asked == [("/a", None), ("/a", f"bytes={len(CONTENT) // 2}-")]
        fetch(f"{home.url}/a", tmp_path / "deep" / "a")
        assert len(home.asked) == 2
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]


def test_fetch_begins_anew_where_the_server_cannot_go_on(tmp_path) -> None:
    with Home(ranges=False) as home:
        (tmp_path / "a.part").write_bytes(b"x" * 5000)
        fetch(f"{home.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_fetch_drops_a_rest_that_the_server_does_not_know(tmp_path) -> None:
    with Home() as home:
        (tmp_path / "a.part").write_bytes(b"x" * (len(CONTENT) + 1))
        fetch(f"{home.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_fetch_says_what_failed(tmp_path) -> None:
    with Home() as home:
        with pytest.raises(DataError, match="/missing could not be downloaded.*404"):
            fetch(f"{home.url}/missing", tmp_path / "a")
        assert len(home.asked) == 1
    with pytest.raises(DataError, match="https://"):
        fetch("file:///etc/passwd", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_replacing_leaves_nothing_half_done(tmp_path) -> None:
    target = tmp_path / "a.flac"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_stage_notices_other_inputs(tmp_path) -> None:
    product = tmp_path / "product"
    stage = Stage(tmp_path / ".stage", fingerprint("a", 1))
    assert not stage.finished(product)
    stage.begin(leftovers=[product])
    product.write_text("made")
    assert not stage.finished(product)
    stage.begin(leftovers=[product])
    assert product.exists(), "an interrupted stage goes on with what it has"
    stage.finish()
    assert Stage(tmp_path / ".stage", fingerprint("a", 1)).finished(product)
    other = Stage(tmp_path / ".stage", fingerprint("a", 2))
    assert not other.finished(product)
    other.begin(leftovers=[product])
    assert not product.exists()


def test_fingerprint_keeps_its_parts_apart() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_in_parallel_keeps_the_order_and_raises() -> None:
    assert in_parallel(lambda n: n * n, list(range(50)), "squares", 4) == [n * n for n in range(50)]
    assert in_parallel(str, [], "nothing", 1) == []

    def fail(n: int) -> None:
        raise DataError(f"item {n}")

    with pytest.raises(DataError, match="item"):
        in_parallel(fail, [1, 2, 3], "failing", 1)
