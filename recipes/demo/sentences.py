"""What is said: strings of digits, and commands from a small grammar. No sentence of one split is said in another."""

from functools import cache
from hashlib import sha256
from itertools import product
from random import Random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROOMS = ("kitchen", "bedroom", "bathroom", "hallway", "garden", "office")
DEVICES = ("light", "lamp", "fan", "heater", "radio")
THE = ("the",)

GRAMMAR: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("turn",), ("on", "off"), THE, ROOMS, DEVICES),
    (("open", "close"), THE, ROOMS, ("door", "window", "blinds", "curtains")),
    (("set",), THE, ("timer", "alarm"), ("to", "for"), DIGITS[2:], ("minutes", "hours")),
    (("set",), THE, ROOMS, DEVICES, ("to",), DIGITS),
    (("play", "stop"), ("music", "jazz", "news", "radio"), ("in the",), ROOMS),
)
"""Each form is a row of slots, each slot a choice of words."""

SPLITS = ("train", "dev", "test")
MAX_DIGITS = 7


def split_of(sentence: str) -> str:
    """The one split a sentence may be said in, by its checksum: 20 % test, 10 % dev, the rest train."""
    share = int.from_bytes(sha256(sentence.encode()).digest()[:4], "big") % 20
    return "test" if share < 4 else "dev" if share < 6 else "train"


@cache
def commands(split: str) -> list[list[str]]:
    """All commands of a split, by form."""
    forms = ([" ".join(words) for words in product(*form)] for form in GRAMMAR)
    return [[sentence for sentence in form if split_of(sentence) == split] for form in forms]


def draw_command(split: str, random: Random) -> str:
    """A command of the split. Forms with few sentences are favoured a little, or the largest would drown them."""
    forms = commands(split)
    [form] = random.choices(forms, weights=[len(form) ** 0.5 for form in forms])
    return random.choice(form)


def draw_digits(split: str, random: Random) -> str:
    """A string of 1 to 7 digits. Those of one or two are too few to be kept apart; longer ones belong to one split."""
    num_digits = random.randint(1, MAX_DIGITS)
    while True:
        sentence = " ".join(random.choice(DIGITS) for _ in range(num_digits))
        if num_digits < 3 or split_of(sentence) == split:
            return sentence
