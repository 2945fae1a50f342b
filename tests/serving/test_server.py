"""A scripted client and the server: the right words, limits, misdeeds, and neighbours that do not notice."""

from __future__ import annotations

import socket
import threading
import time
from urllib.request import urlopen

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from asr.errors import ConfigError
from asr.features import Resampler
from asr.serving import LimitConfig, ServeConfig
from asr.serving.server import Server
from asr.streaming import StreamConfig
from tests.serving.client import Client, serving, transcript, words

TOKEN = "open sesame"


@pytest.fixture(scope="module")
def server(digits):
    with serving(digits, limits=LimitConfig(message_bytes=200_000, refused_messages=3)) as running:
        yield running


def ask(server: Server, samples: np.ndarray, *, piece: int = 1600, **start) -> list[dict]:
    with Client(server.address) as client:
        client.start(**start)
        client.send(samples, piece=piece)
        client.say(type="end")
        return client.hear_all()


def quiet(seconds: float) -> np.ndarray:
    """The faint noise of a room."""
    return np.random.default_rng(0).normal(0, 1e-3, int(seconds * 16000)).astype(np.float32)


def open_streams(server: Server) -> int:
    with urlopen(f"{server.address}/status") as answer:
        return int(answer.read().decode().split(":")[1].split(",")[0])


def wait_for_streams(server: Server, count: int) -> None:
    deadline = time.monotonic() + 20
    while open_streams(server) != count:
        assert time.monotonic() < deadline, f"{open_streams(server)} streams are open, not {count}"
        time.sleep(0.02)


def test_words_come_while_they_are_spoken_and_in_the_end(digits, server, strings):
    events = ask(server, strings[0].samples.numpy())
    assert events[0] == {"type": "ready", "chunk_s": 0.64, "lookahead_s": 0.13}
    assert events[-1] == {"type": "done", "reason": "end", "audio_s": round(len(strings[0].samples) / 16000, 3)}
    assert words(events) == strings[0].text == transcript(digits, strings[0].samples.numpy(), ServeConfig())
    partials = [event["text"] for event in events if event["type"] == "partial"]
    assert partials and all(strings[0].text.startswith(text) for text in partials)
    assert [event["decoded_s"] for event in events[1:-1]] == sorted(event["decoded_s"] for event in events[1:-1])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_clients_own_rate(digits, server, strings, rate):
    samples = Resampler(16000, rate)(strings[1].samples).numpy()
    assert words(ask(server, samples, sample_rate=rate)) == transcript(digits, samples, ServeConfig(), sample_rate=rate)


def test_sixteen_bit_integers(server, strings):
    samples = (strings[2].samples.numpy() * 32767).astype(np.int16)
    assert words(ask(server, samples, encoding="int16")) == strings[2].text


@pytest.mark.parametrize("piece", [1, 37, 40_000])
def test_messages_of_any_size(server, strings, piece):
    samples = strings[3].samples.numpy()[:16000]
    assert words(ask(server, samples, piece=piece)) == words(ask(server, samples))


def test_segments_end_where_speech_pauses(digits, server, strings):
    events = ask(
        server, np.concatenate([strings[0].samples.numpy(), quiet(3.0), strings[5].samples.numpy(), quiet(3.0)])
    )
    finals = [event for event in events if event["type"] == "final"]
    assert [event["text"] for event in finals] == [strings[0].text, strings[5].text]
    assert [event["segment"] for event in finals] == [0, 1]
    assert finals[1]["start_s"] >= finals[0]["decoded_s"]


def test_nothing_said_nothing_told(server):
    assert [event["type"] for event in ask(server, np.zeros(0, np.float32))] == ["ready", "done"]
    assert [event["type"] for event in ask(server, quiet(3.0))] == ["ready", "done"]


def test_many_clients_share_steps_and_hear_their_own_words(digits, server, strings, monkeypatch):
    sizes, encode = [], digits.model.encode
    monkeypatch.setattr(digits.model, "encode", lambda x, *a, **k: sizes.append(len(x)) or encode(x, *a, **k))
    answers: dict[int, str] = {}
    strings = strings[:6]
    talk = [
        threading.Thread(target=lambda i=i: answers.update({i: words(ask(server, strings[i].samples.numpy()))}))
        for i in range(len(strings))
    ]
    for thread in talk:
        thread.start()
    for thread in talk:
        thread.join(60)
    monkeypatch.undo()
    expected = [transcript(digits, string.samples.numpy(), ServeConfig()) for string in strings]
    assert [answers[i] for i in range(len(strings))] == expected
    assert max(sizes) > 2
    wait_for_streams(server, 0)


@pytest.mark.parametrize("minutes", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_long_silence_costs_little_and_ends_in_words(digits, strings, monkeypatch, minutes):
    """At ten times the speed of speech and more; most of it never reaches the model."""
    steps, encode = [], digits.model.encode
    monkeypatch.setattr(digits.model, "encode", lambda x, *a, **k: steps.append(len(x)) or encode(x, *a, **k))
    minute = (quiet(60.0) * 32767).astype(np.int16)
    with serving(digits, limits=LimitConfig(session_s=4000)) as server, Client(server.address) as client:
        client.start(encoding="int16")
        for _ in range(minutes):
            client.send(minute, piece=16000)
        client.send((strings[0].samples.numpy() * 32767).astype(np.int16))
        client.say(type="end")
        said = client.hear_all()
    assert words(said) == strings[0].text and [event["segment"] for event in said if event["type"] == "final"] == [0]
    assert len(steps) < 20


MISDEEDS = {
    "garbage": ("{not json", 1003, "no JSON"),
    "deep": ("[" * 100_000, 1003, "no JSON"),
    "list": ("[1, 2]", 1003, 'no object with a "type"'),
    "unknown": ('{"type": "dance"}', 1003, "'dance' means nothing here"),
    "other rate": ('{"type": "start", "sample_rate": 8000}', 1003, "keeps its sample rate"),
}


@pytest.mark.parametrize("case", MISDEEDS)
def test_misdeeds_end_their_own_stream_alone(server, strings, case):
    message, code, sentence = MISDEEDS[case]
    samples = strings[5].samples.numpy()
    with Client(server.address) as polite, Client(server.address) as rude:
        for client in (polite, rude):
            client.start()
            client.send(samples[:20000])
        rude.socket.send(message)
        said = rude.hear_all()
        assert said[-1]["type"] == "error" and said[-1]["fatal"] and sentence in said[-1]["message"]
        assert rude.close_code == code
        polite.send(samples[20000:])
        polite.say(type="end")
        assert words(polite.hear_all()) == strings[5].text


REFUSED = {
    "no start": ('{"type": "end"}', 1003, "begin with"),
    "long type": (
        '{"type": "%s"}' % ("x" * 9999),
        1003,
        "is of type 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...; begin",
    ),
    "audio": (b"\0" * 8, 1003, "audio came before"),
    "garbage": ("hello", 1003, "no JSON"),
    "no rate": ('{"type": "start"}', 1003, "sample_rate=None is not served"),
    "odd rate": ('{"type": "start", "sample_rate": 15999}', 1003, "sample_rate=15999 is not served"),
    "list rate": ('{"type": "start", "sample_rate": [16000]}', 1003, "is not served"),
    "true rate": ('{"type": "start", "sample_rate": true}', 1003, "is not served"),
    "encoding": ('{"type": "start", "sample_rate": 16000, "encoding": "mp3"}', 1003, "'mp3' is unknown"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_beginnings(server, case):
    message, code, sentence = REFUSED[case]
    with Client(server.address) as client:
        client.socket.send(message)
        (said,) = client.hear_all()
        assert said["type"] == "error" and said["fatal"] and sentence in said["message"]
        assert client.close_code == code


@pytest.mark.parametrize("bad", [np.full(99, np.nan, "f4"), np.full(9, np.inf, "f4"), np.full(9, 3e4, "f4"), b"abc"])
def test_what_is_no_audio_is_left_out(server, strings, bad):
    samples = strings[5].samples.numpy()
    with Client(server.address) as client:
        client.start()
        client.send(samples[:9999])
        client.socket.send(bytes(bad))
        client.send(samples[9999:])
        client.say(type="end")
        said = client.hear_all()
    (error,) = [event for event in said if event["type"] == "error"]
    assert not error["fatal"] and "left out" in error["message"]
    assert words(said) == strings[5].text


def test_patience_has_an_end(server):
    with Client(server.address) as client:
        client.start()
        for _ in range(5):
            client.socket.send(b"abc")
        said = client.hear_all()
    assert [event["fatal"] for event in said[1:]] == [False] * 4 + [True]
    assert "more than 3 messages were refused" in said[-1]["message"]


def test_a_message_too_long_ends_its_connection(server):
    with Client(server.address) as client:
        client.start()
        client.socket.send(b"\0" * 200_001)
        client.hear_all()
        assert client.close_code == 1009


def test_whoever_vanishes_is_forgotten(server, strings):
    wait_for_streams(server, 0)
    clients = [Client(server.address) for _ in range(3)]
    for client in clients:
        client.start()
        client.send(strings[0].samples.numpy()[:30000])
        client.hear()
    assert open_streams(server) == 3
    clients[0].socket.close()
    for client in clients[1:]:
        client.socket.socket.close()  # without a word
    wait_for_streams(server, 0)


def test_too_many_clients(digits, strings):
    with serving(digits, limits=LimitConfig(connections=2)) as server:
        first, second = Client(server.address), Client(server.address)
        first.start()
        first.hear()
        with Client(server.address) as third:
            (said,) = third.hear_all()
            assert "serves its 2 clients already" in said["message"] and third.close_code == 1013
        second.socket.close()
        first.send(strings[0].samples.numpy())
        first.say(type="end")
        assert words(first.hear_all()) == strings[0].text
        assert ask(server, np.zeros(0, np.float32))[-1]["type"] == "done"


def test_tokens(digits):
    with serving(digits, token=TOKEN) as server:
        for given in ({}, {"token": "sesame"}, {"token": None}, {"token": 7}, {"token": "öffne"}, {"token": "\ud800"}):
            with Client(server.address) as client:
                client.start(**given)
                (said,) = client.hear_all()
                assert "token is missing or wrong" in said["message"] and client.close_code == 1008
        assert ask(server, np.zeros(0, np.float32), token=TOKEN)[-1]["reason"] == "end"


@pytest.mark.parametrize(
    "origin, served", [("http://evil.example", False), ("https://good.example", True), (None, True)]
)
def test_pages_of_other_sites_are_refused(digits, origin, served):
    with serving(digits, origins=["https://good.example"]) as server:
        if served:
            with Client(server.address, origin=origin) as client:
                client.start()
                assert client.hear()["type"] == "ready"
        else:
            with pytest.raises(InvalidStatus, match="403"):
                Client(server.address, origin=origin)


def test_silent_clients_and_long_streams_are_answered(digits, strings):
    samples = strings[0].samples.numpy()
    with serving(digits, limits=LimitConfig(idle_s=0.5, start_s=0.3)) as server:
        with Client(server.address) as client:
            assert "nothing came for 0.3 s" in client.hear_all()[0]["message"] and client.close_code == 1008
        with Client(server.address) as client:
            client.start()
            client.send(samples)
            said = client.hear_all()
            assert words(said) == strings[0].text and said[-1]["reason"] == "idle" and client.close_code == 1000
    with serving(digits, limits=LimitConfig(session_s=3.0)) as server:
        said = ask(server, np.concatenate([samples] * 4))
        assert said[-1]["reason"] == "limit" and said[-1]["audio_s"] < 3.5 and words(said)


def test_empty_messages_are_no_sign_of_life(digits, strings):
    with serving(digits, limits=LimitConfig(idle_s=1.0)) as server, Client(server.address) as client:
        client.start()
        client.send(strings[0].samples.numpy())
        deadline = time.monotonic() + 20
        with pytest.raises(ConnectionClosed):
            while time.monotonic() < deadline:
                client.socket.send(b"")
                time.sleep(0.01)
        said = client.hear_all()
    assert words(said) == strings[0].text and said[-1]["reason"] == "idle"


def test_whoever_waits_for_the_answer_is_not_idle(digits, strings, monkeypatch):
    encode = digits.model.encode
    monkeypatch.setattr(digits.model, "encode", lambda *a, **k: time.sleep(0.3) or encode(*a, **k))
    with serving(digits, limits=LimitConfig(idle_s=0.2)) as server:
        said = ask(server, strings[0].samples.numpy())
    assert words(said) == strings[0].text and said[-1]["reason"] == "end"


def test_a_client_faster_than_the_server_waits(digits, strings):
    """Twenty times what may wait: nothing is lost."""
    samples = np.concatenate([string.samples.numpy() for string in strings[:3]])
    with serving(digits, limits=LimitConfig(backlog_s=0.5)) as server:
        found = words(ask(server, samples, piece=4000))
    assert found == transcript(digits, samples, ServeConfig())


@pytest.mark.slow
def test_a_client_that_does_not_read_is_left(digits, strings):
    """It stalls with its own words unread; others go on, and it is given up."""
    with serving(digits, limits=LimitConfig(send_s=0.5, refused_messages=10**9)) as server:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", int(server.address.rsplit(":", 1)[1])))
        deaf = Client(server.address, max_queue=1, sock=small)
        deaf.start()
        flood = threading.Thread(target=_complain_until_closed, args=(deaf,))
        flood.start()
        assert words(ask(server, strings[0].samples.numpy())) == strings[0].text
        wait_for_streams(server, 0)
        flood.join(20)
        assert not flood.is_alive(), "the connection itself is given up too"


def _complain_until_closed(client: Client) -> None:
    try:
        while True:
            client.socket.send(b"abc")  # each is answered with an error
    except (ConnectionClosed, OSError):
        pass


def test_shutdown_finishes_open_streams(digits, strings):
    with serving(digits) as server:
        clients = [Client(server.address) for _ in range(3)]
        for client, string in zip(clients, strings):
            client.start()
            client.send(string.samples.numpy())
        for client in clients:
            client.hear()
            client.socket.ping().wait(20)  # all of it has arrived
        undecided = Client(server.address)
        server.stop()
        for client, string in zip(clients, strings):
            said = client.hear_all()
            assert words(said) == string.text
            assert said[-1]["reason"] == "shutdown" and client.close_code == 1001
        assert undecided.hear_all() == [] and undecided.close_code == 1012


def test_whoever_starts_while_the_server_stops_is_turned_away(digits, strings, monkeypatch):
    """One client keeps the server from stopping at once; another connected before that, a third comes after it."""
    encode = digits.model.encode
    with serving(digits) as server:
        busy, late = Client(server.address), Client(server.address)
        busy.start()
        busy.hear()
        monkeypatch.setattr(digits.model, "encode", lambda *a, **k: time.sleep(0.5) or encode(*a, **k))
        busy.send(strings[0].samples.numpy())
        busy.socket.ping().wait(20)  # all of it has arrived
        server.stop()
        time.sleep(0.5)  # the server looks ten times a second whether it shall stop
        late.start()
        with Client(server.address) as later:
            for client in (late, later):
                (said,) = client.hear_all()
                assert "is shutting down" in said["message"] and said["fatal"] and client.close_code == 1012
        said = busy.hear_all()
    assert words(said) == strings[0].text and said[-1]["reason"] == "shutdown"


def test_addresses_and_settings_that_cannot_be(digits):
    with (
        serving(digits) as server,
        pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1, port \d+ \(Address already in use\); choose"),
    ):
        Server(digits, ServeConfig(port=int(server.address.rsplit(":", 1)[1])))
    with pytest.raises(ConfigError, match="port=70000"):
        ServeConfig(port=70000)
    with pytest.raises(ConfigError, match="token is empty"):
        ServeConfig(token="")
    with pytest.raises(ConfigError, match="limits.idle_s=0 must be above 0"):
        LimitConfig(idle_s=0)
    with pytest.raises(ConfigError, match="chunk_size=30"):
        Server(digits, ServeConfig(port=0, chunk_size=30))
    assert ServeConfig().host == "127.0.0.1" and isinstance(ServeConfig(), StreamConfig)


def test_the_page_and_its_files(server):
    with urlopen(f"{server.address}/") as page:
        assert "default-src 'self'" in page.headers["content-security-policy"]
        text = page.read().decode()
    assert "<title>Rill</title>" in text and "http" not in text
    for name in ("page.js", "page.css", "microphone.js", "icon.svg"):
        with urlopen(f"{server.address}/{name}") as file:
            assert file.status == 200
