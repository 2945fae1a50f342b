"""The page in a real browser, whose microphone plays a real recording: the right words while it plays."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.serving.client import serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-capture",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
LEAD_S, TAIL_S = 1.0, 6.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install Debian's package, or set CHROMIUM"),
]


@contextmanager
def browser_page(folder: Path, *flags: str) -> Iterator:
    """A tab of a fresh browser that complains about nothing."""
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path=CHROMIUM, headless=False, args=[*FLAGS, *flags]
        )
        page = context.pages[0] if context.pages else context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        yield page
        context.close()
        assert complaints == []


def recording(path: Path, samples: np.ndarray, *, lead_s: float = 0.0, tail_s: float = 0.0) -> Path:
    """A WAV file of 16 bits: faint noise, the samples, faint noise."""
    draw = np.random.default_rng(0)
    around = [draw.normal(0, 1e-3, int(16000 * seconds)).astype(np.float32) for seconds in (lead_s, tail_s)]
    soundfile.write(path, np.concatenate([around[0], samples, around[1]]), 16000, subtype="PCM_16")
    return path


def test_the_microphone_is_understood_while_it_plays(digits, strings, tmp_path):
    string = strings[0]
    wav = recording(tmp_path / "spoken.wav", string.samples.numpy(), lead_s=LEAD_S, tail_s=TAIL_S)
    length_s = LEAD_S + len(string.samples) / 16000 + TAIL_S
    with (
        serving(digits) as server,
        browser_page(tmp_path, f"--use-file-for-fake-audio-capture={wav}%noloop") as page,
    ):
        page.goto(server.address)
        page.get_by_role("button", name="Listen").click()
        begun = time.monotonic()
        page.wait_for_selector("#text .partial", timeout=length_s * 1000)
        partial = page.inner_text("#text").strip()
        assert string.text.startswith(partial), (partial, string.text)
        assert partial != string.text, "the first words stand there before the last are spoken"
        page.wait_for_selector("#text .final", timeout=length_s * 1000)
        assert time.monotonic() - begun < length_s, "final while the recording still plays"
        assert page.inner_text("#text").split() == string.text.split()
        assert "ms after the sound" in page.inner_text("#latency")
        page.get_by_role("button", name="Stop").click()
        page.locator("#status", has_text="s heard").wait_for()
        assert page.inner_text("#text").split() == string.text.split()
        print(page.inner_text("#latency"))


def test_a_dropped_file_is_understood(digits, strings, tmp_path):
    wav = recording(tmp_path / "dropped.wav", strings[5].samples.numpy())
    with serving(digits) as server, browser_page(tmp_path) as page:
        page.goto(server.address)
        data = page.evaluate_handle(
            """async (bytes) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], "dropped.wav", { type: "audio/wav" }));
                return transfer;
            }""",
            list(wav.read_bytes()),
        )
        page.dispatch_event("main", "drop", {"dataTransfer": data})
        page.locator("#status", has_text="s heard").wait_for(timeout=30000)
        assert page.inner_text("#text").split() == strings[5].text.split()


def test_a_token_can_be_given(digits, tmp_path):
    with serving(digits, token="open sesame") as server, browser_page(tmp_path) as page:
        page.goto(server.address)
        page.get_by_role("button", name="Listen").click()
        page.wait_for_selector("#status.error")
        assert "token" in page.inner_text("#status")
        page.fill("#token", "open sesame")
        page.get_by_role("button", name="Listen").click()
        page.locator("#status", has_text="Listening at").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.locator("#status", has_text="s heard").wait_for()
