"""Downloading one file, and going on where an earlier attempt stopped."""

import os
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from asr.errors import DataError
from asr.recipes.progress import receiving

TIMEOUT_S = 60.0
ATTEMPTS = 3
PIECE_BYTES = 1 << 16


def fetch(url: str, target: Path) -> None:
    """Download `url` to `target`; does nothing if `target` is there.

    What has arrived waits in `<target>.part`; the next attempt asks for the rest only, if the server can do that. The
    content is not checked here: whoever reads the file knows what it must hold.

    Raises:
        DataError: the address is not http(s), or the file did not arrive whole.
    """
    if target.exists():
        return
    if not url.startswith(("https://", "http://")):
        raise DataError(f"The address {url!r} is not a web address; it must begin with https:// or http://.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    problem: Exception | str = ""
    for _ in range(ATTEMPTS):
        try:
            if _continue(url, part):
                os.replace(part, target)
                return
            problem = "the connection ended early"
        except (OSError, HTTPException) as error:  # URLError and HTTPError are OSErrors
            problem = error
            if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500:
                break
    raise DataError(
        f"{url} could not be downloaded ({problem}); run the same command again to go on, or get the data by other "
        "means and give its folder."
    )


def _continue(url: str, part: Path) -> bool:
    """Fetch what is missing of `part`; True if it is then complete as far as the server says."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()  # the server has no such rest: another file, or one without a known end; begin anew
        return False
    with response:
        if response.status != 206:
            have = 0  # the server sends everything again
        expected = response.headers.get("Content-Length")
        total = None if expected is None else have + int(expected)
        with part.open("r+b" if have else "wb") as file, receiving(part.stem, have, total) as advance:
            file.seek(have)
            while piece := response.read(PIECE_BYTES):
                file.write(piece)
                advance(len(piece))
            size = file.tell()
    return total is None or size == total
