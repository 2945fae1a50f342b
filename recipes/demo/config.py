"""How much synthetic speech to make, and where it goes."""

from dataclasses import dataclass, field

from asr.errors import ConfigError


@dataclass(kw_only=True)
class DemoConfig:
    """Data preparation of the synthetic-speech recipe."""

    out: str = "data/demo"
    """Folder for everything the recipe makes."""
    num_train: int = 3600
    """Training utterances, 1 or more."""
    num_dev: int = 200
    """Utterances to choose settings on, 1 or more."""
    num_test: int = 320
    """Test utterances, 1 or more."""
    seed: int = 1
    """Decides texts, voices, levels and noise; the synthesiser itself does not repeat to the bit."""
    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """Factors at which training features are stored, each above 0; 1.0 is the original speed."""
    num_workers: int = 2
    """Synthesiser processes that work at once, 1 or more."""

    def __post_init__(self) -> None:
        for key in ("num_train", "num_dev", "num_test", "num_workers"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}={getattr(self, key)} must be 1 or more.")
        if not self.speeds or min(self.speeds) <= 0:
            raise ConfigError(f"speeds={self.speeds} must name at least one factor above 0; use [0.9, 1.0, 1.1].")

    def size(self, split: str) -> int:
        """Utterances of a split: train, dev or test."""
        return {"train": self.num_train, "dev": self.num_dev, "test": self.num_test}[split]
