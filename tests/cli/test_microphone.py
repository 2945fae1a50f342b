"""asr stream --microphone, with a library in place of the real one that plays what a test wants."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import asr
from asr.streaming import EndpointConfig, StreamConfig
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.streaming.segments import segments


class PortAudioError(Exception):
    pass


def library(samples: np.ndarray, *, broken: str = "") -> SimpleNamespace:
    """A sounddevice whose only microphone hears `samples` at 16 kHz, and then Ctrl-C."""

    class InputStream:
        def __init__(self, *, callback, **settings):
            assert settings == {"samplerate": 16000, "channels": 1, "dtype": "float32"}
            self.callback = callback

        def __enter__(self):
            for at in range(0, len(samples), 800):
                self.callback(samples[at : at + 800, None], 800, None, None)
            return self

        def __exit__(self, *_):
            pass

    def query_devices(*, kind):
        if broken:
            raise PortAudioError(broken)
        return {"default_samplerate": 16000.0}

    return SimpleNamespace(InputStream=InputStream, query_devices=query_devices, PortAudioError=PortAudioError)


def test_words_are_shown_and_the_last_are_not_lost(command, data_dir, monkeypatch):
    first, second = (string.samples.numpy() for string in digit_strings(data_dir, count=2))
    pause = np.random.default_rng(0).normal(0, 1e-3, 3 * 16000).astype(np.float32)
    samples = np.concatenate([first, pause, second])
    monkeypatch.setitem(sys.modules, "sounddevice", library(samples))
    taken = SimpleNamespace(count=0)
    import asr.cli.microphone as module

    class Queue(module.queue.Queue):
        def get(self):
            if self.empty():
                raise KeyboardInterrupt
            taken.count += 1
            return super().get()

    monkeypatch.setattr(module.queue, "SimpleQueue", Queue)
    model = digits_model()
    status, out, err = command("stream", model, "--microphone")
    assert status == 0 and "listening at 16000 Hz" in err[0] and taken.count == -(-len(samples) // 800)
    shown = [line.rsplit("\x1b[K", 1)[-1] for line in "\n".join(out).split("\n")]
    recognizer = asr.load(model)
    said = segments(recognizer, recognizer.stream(StreamConfig(endpoint=EndpointConfig())), samples)
    assert len(said) == 2 and set(said) <= set(shown) and shown[-1] == said[-1]


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        (None, "install rill-asr[microphone]"),
        (
            library(np.zeros(0), broken="Error querying device -1"),
            "there is no microphone here (Error querying device -1)",
        ),
    ],
    ids=["no package", "no device"],
)
def test_without_a_microphone_there_is_one_sentence(refused, monkeypatch, module, advice):
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert advice in refused("stream", digits_model(), "--microphone")


def test_without_portaudio_there_is_one_sentence(refused, monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "PortAudio" in refused("stream", digits_model(), "--microphone")


def test_only_one_source(refused):
    assert "name one audio file, or use --sample or --microphone" in refused(
        "stream", digits_model(), "--microphone", "--sample"
    )
