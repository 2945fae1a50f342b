"""Who says it: accents and timbres of the synthesiser. The timbres of dev and test are not heard in training."""

from random import Random
from typing import NamedTuple

ACCENTS = (
    "gmw/en",
    "gmw/en-US",
    "gmw/en-US-nyc",
    "gmw/en-029",
    "gmw/en-GB-scotland",
    "gmw/en-GB-x-gbclan",
    "gmw/en-GB-x-gbcwmd",
    "gmw/en-GB-x-rp",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "train": (
        *("m1", "m2", "m4", "m5", "m6", "m8", "f1", "f3", "f4"),
        *("Alex", "Alicia", "Andy", "Denis", "Diogo", "Hugo", "Mario", "Mike", "Nguyen", "aunty"),
        *("linda", "miguel", "paul", "quincy", "robert", "shelby", "steph", "travis", "victor"),
    ),
    "dev": ("Annie", "Gene", "max", "michel"),
    "test": ("m3", "m7", "f2", "f5", "Michael", "belinda", "rob"),
}
"""Chosen for sounding like people; the synthesiser's robots, whispers, effects and hurried talkers are left out."""


class Voice(NamedTuple):
    """One way of speaking."""

    accent: str
    variant: str
    rate: int
    """Words per minute."""
    pitch: int
    """0 to 99, 50 being the variant's own."""

    @property
    def name(self) -> str:
        """As the synthesiser wants it."""
        return f"{self.accent}+{self.variant}"

    @property
    def speaker(self) -> str:
        """Accent and timbre; rate and pitch vary within a speaker."""
        return f"{self.accent.removeprefix('gmw/')}-{self.variant}"


def draw_voice(split: str, random: Random) -> Voice:
    """A voice of the split at a natural rate and pitch."""
    return Voice(
        accent=random.choice(ACCENTS),
        variant=random.choice(VARIANTS[split]),
        rate=random.randint(110, 180),
        pitch=random.randint(30, 70),
    )
