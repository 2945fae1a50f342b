"""asr stream --microphone on a slow machine: what was said before Ctrl-C is heard, though it still waited."""

from __future__ import annotations

import sys

import asr
from asr.cli import microphone
from asr.streaming import EndpointConfig, StreamConfig
from tests.cli.test_microphone import library
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.streaming.segments import segments


def test_what_waits_at_ctrl_c_is_heard(command, data_dir, monkeypatch):
    (string,) = digit_strings(data_dir, count=1)
    samples = string.samples.numpy()
    monkeypatch.setitem(sys.modules, "sounddevice", library(samples))

    class Queue(microphone.queue.Queue):
        taken = 0

        def get(self):
            type(self).taken += 1
            if self.taken == 4:
                raise KeyboardInterrupt
            return super().get()

    monkeypatch.setattr(microphone.queue, "SimpleQueue", Queue)
    status, out, _ = command("stream", digits_model(), "--microphone")
    recognizer = asr.load(digits_model())
    (said,) = segments(recognizer, recognizer.stream(StreamConfig(endpoint=EndpointConfig())), samples)
    assert status == 0 and out[-1].rsplit("\x1b[K", 1)[-1] == said
