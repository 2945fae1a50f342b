"""The page's worklet without a browser: no sample of the microphone is lost, the last ones included."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from asr.serving.app import PAGE

STORY = """
globalThis.sampleRate = 16000;
globalThis.AudioWorkletProcessor = class { port = { postMessage: (data) => posted.push(data && Array.from(data)) }; };
globalThis.registerProcessor = (name, kind) => { globalThis.kind = kind; };
const posted = [];
(0, eval)(require("fs").readFileSync(process.argv[1], "utf8"));
const microphone = new kind();
let count = 0;
const block = () => [[Float32Array.from({ length: 128 }, () => count++)]];
const going = Array.from({ length: 10 }, () => microphone.process(block()));
microphone.port.onmessage({ data: "end" });
going.push(microphone.process(block()));
console.log(JSON.stringify({ posted, going }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here to run the page's script")
def test_the_last_samples_are_sent_on_stop():
    said = subprocess.run(["node", "-e", STORY, str(PAGE / "microphone.js")], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    *pieces, end = told["posted"]
    assert end is None and [len(piece) for piece in pieces] == [896, 384]
    assert [sample for piece in pieces for sample in piece] == list(range(1280))
    assert told["going"] == [True] * 10 + [False]
