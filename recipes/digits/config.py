"""Where the connected-digit corpus comes from and where it goes."""

from dataclasses import dataclass, field

from asr.errors import ConfigError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
"""The speakers of the published lists; every other voice of the source is left alone."""


@dataclass(kw_only=True)
class DigitsConfig:
    """Data preparation of the connected-digit recipe."""

    out: str = "data/digits"
    """Folder for everything the recipe makes."""
    source: str | None = None
    """Folder of `fsdd-<speaker>.tar` files with their `manifest.tsv`; None: download the recordings."""
    lists: str | None = None
    """Folder of `digit-strings-{train,dev,test}.tsv`; None: the published lists, which this package carries."""
    url: str = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{revision}.tar.gz"
    """Where to download from: a gzipped tar with `recordings/<digit>_<speaker>_<index>.wav` below one folder."""
    revision: str = "26eb9aa"
    """Commit of the Free Spoken Digit Dataset; takes the place of `{revision}` in `url`."""
    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """Factors at which training features are stored, each above 0; 1.0 is the original speed."""
    num_workers: int = 2
    """Threads or processes that work at once, 1 or more."""

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise ConfigError(f"num_workers={self.num_workers} must be 1 or more; use the number of processor cores.")
        if not self.speeds or min(self.speeds) <= 0:
            raise ConfigError(f"speeds={self.speeds} must name at least one factor above 0; use [0.9, 1.0, 1.1].")
