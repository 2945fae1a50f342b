"""Recorded noise (MUSAN) and room impulse responses (OpenSLR 28): optional inputs, shared by recipes."""

from pathlib import Path

from asr.data import Utterance, cuts_path, read_cuts, write_cuts
from asr.errors import DataError
from asr.recipes.archives import Archive, obtain
from asr.recipes.manifests import write_manifest
from asr.recipes.stages import Stage, fingerprint

MUSAN = Archive("17/musan.tar.gz", "md5:0c472d4fc0c5141eca47ad1ffeb2a7df")
RIRS = Archive("28/rirs_noises.zip", "md5:e6f48e257286e05de56413b4779d8ffb")
DOWNLOAD = "download"
WINDOW_S = 10.0
MIN_WINDOW_S = 5.0


def have_noise(out: Path, musan: str | None, rirs: str | None, mirrors: list[str]) -> None:
    """Download what `musan` and `rirs` call for: null is nothing, "download" is the archive, else a folder that must
    exist (DataError)."""
    for name, given, archive in (("musan", musan, MUSAN), ("rirs", rirs, RIRS)):
        if given == DOWNLOAD:
            obtain(archive, mirrors, out / "download")
        elif given is not None and not Path(given).is_dir():
            raise DataError(f"there is no folder {given}; check corpus.{name}, or set it to null or {DOWNLOAD}")


def describe_noise(out: Path, musan: str | None, rirs: str | None, *, num_workers: int) -> None:
    """List noise in windows of 10 s (shorter rests count from 5 s on), and simulated impulse responses.

    Writes `out/noise/cuts-musan.jsonl.gz` and `out/noise/cuts-rirs.jsonl.gz`: where augment.noise and augment.reverb
    look for them if no other list is named.
    """
    noise = out / "noise"
    if musan is not None:
        root = out / "download" / "musan" if musan == DOWNLOAD else Path(musan)
        write_manifest(noise, "musan-whole", _recordings(root), num_workers=num_workers, need_text=False)
        _write_windows(noise)
    if rirs is not None:
        root = out / "download" / "RIRS_NOISES" if rirs == DOWNLOAD else Path(rirs)
        # The folder of simulated rooms where there is one: the real ones have several channels each.
        root = root / "simulated_rirs" if (root / "simulated_rirs").is_dir() else root
        write_manifest(noise, "rirs", _recordings(root), num_workers=num_workers, need_text=False)


def _recordings(root: Path) -> list[Utterance]:
    paths = sorted(root.rglob("*.wav"))
    if not paths:
        raise DataError(f"there is no WAV file in {root}; check corpus.musan and corpus.rirs")
    return [Utterance(id=path.relative_to(root).with_suffix("").as_posix(), audio=path, text="") for path in paths]


def _write_windows(noise: Path) -> None:
    whole, target = cuts_path(noise, "musan-whole"), cuts_path(noise, "musan")
    stage = Stage(noise / ".windows.stage", fingerprint(whole.stat().st_mtime_ns, WINDOW_S, MIN_WINDOW_S))
    if not stage.finished(target):
        stage.begin()
        windows = read_cuts(whole).cut_into_windows(WINDOW_S)
        write_cuts((cut for cut in windows if cut.duration > MIN_WINDOW_S), target)
        stage.finish()
