"""Settings and files that cannot be: each is refused in one sentence that names what to change."""

from __future__ import annotations

import numpy as np
import soundfile

from tests.models.digits import digits_model


def test_no_threads(refused):
    for name in ("adaptive", "decode", "serve"):
        assert "num_threads=0 must be at least 1" in refused(name, "nowhere", "num_threads=0")


def test_a_recording_too_short_to_compare(refused, command, data_dir, tmp_path):
    out = f"out={tmp_path / 'equality.png'}"
    for count in (3, 1359):
        file = tmp_path / f"{count}.wav"
        soundfile.write(file, np.full(count, 0.1), 16000)
        assert f"{file} lasts" in refused("equality", digits_model(), file, out)
    soundfile.write(file, np.full(1360, 0.1), 16000)  # nine frames
    status, _, err = command("equality", digits_model(), file, out)
    assert status == 0, err


def test_the_key_of_a_missing_corpus(command, tmp_path):
    place = [f"corpus.source={tmp_path}", f"corpus.out={tmp_path / 'out'}"]
    status, _, err = command("prepare", "recipe=digits", *place)
    assert status == 1 and f"check corpus.source='{tmp_path}'" in err[-1]
