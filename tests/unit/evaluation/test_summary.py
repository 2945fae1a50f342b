"""What a run reached, in words."""

from __future__ import annotations

import json

from asr.evaluation.summary import Row, summary_rows


def test_exports_tell_what_the_client_made_of_them(tmp_path):
    checked = {"utterances": 20, "graphs_equal": 20, "client_equal": 19, "agreement": 0.999}
    export = {"folder": "here", "bytes": 2_000_000, "verified": checked}
    (tmp_path / "export-streaming").mkdir()
    file = tmp_path / "export-streaming" / "export.json"
    file.write_text(json.dumps(export))
    floats = [
        Row("exported", "2.0 MB, here"),
        Row("same tokens as the library", "graphs 20/20, sherpa-onnx from audio 19/20"),
    ]
    assert summary_rows(tmp_path, []) == floats
    file.write_text(json.dumps({**export, "verified_8_bit": {**checked, "agreement": 0.9312}}))
    twins = Row("same tokens as the library, 8-bit", "93.1 %, sherpa-onnx from audio")
    assert summary_rows(tmp_path, []) == [*floats, twins]
