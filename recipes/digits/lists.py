"""The lists that define the connected-digit task: reading them, and refusing what they cannot mean."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from asr.errors import DataError

COLUMNS = (
    "utt_id",
    "speaker",
    "n_digits",
    "recordings",
    "gaps_ms",
    "noise_seed",
    "num_samples_16k",
    "transcript",
)
MAX_GAP_MS = 60_000  # the published lists stay within 50-300; this only stops a typo from filling the memory
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # becomes part of a file name, so no separators and no leading dot


@dataclass(frozen=True, kw_only=True)
class DigitString:
    """One row of a list: which recordings, joined with which pauses, over which noise."""

    utt_id: str
    speaker: str
    recordings: tuple[str, ...]
    gaps_ms: tuple[int, ...]
    """One more than there are recordings: before the first, between, after the last."""
    noise_seed: int
    num_samples: int
    """Exact length of the finished signal at 16 kHz."""
    words: tuple[str, ...]
    row: int
    """Line in the list, the header being row 1, as an editor or a spreadsheet counts."""

    @property
    def transcript(self) -> str:
        return " ".join(self.words)


def read_list(path: str | Path) -> list[DigitString]:
    """Read a tab-separated list with the columns of `digit-strings-*.tsv`, in any order.

    Raises:
        DataError: naming the file, the row and the column that is wrong.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The list {path} cannot be read as UTF-8 text ({error}); check the path and the file."
        ) from error
    header = lines[0].split("\t") if lines else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise DataError(
            f"{path}, row 1: column {missing[0]!r} is missing; "
            f"a list of digit strings has the tab-separated columns {', '.join(COLUMNS)}."
        )
    rows = csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE)
    strings = [_Row(path, row, header, cells).parse() for row, cells in enumerate(rows, start=2) if cells]
    if not strings:
        raise DataError(f"The list {path} has a header but no rows; give it at least one digit string.")
    _refuse_duplicates(path, strings)
    return strings


def _refuse_duplicates(path: Path, strings: list[DigitString]) -> None:
    first: dict[str, int] = {}
    for string in strings:
        # Without case, because two such names are one file on many disks.
        row = first.setdefault(string.utt_id.lower(), string.row)
        if row != string.row:
            raise DataError(
                f"{path}, row {string.row}, column 'utt_id': {string.utt_id!r} is already the name of row {row}; "
                "give every row a name of its own."
            )


class _Row:
    """One row being read; every complaint knows its file, row and column."""

    def __init__(self, path: Path, row: int, header: list[str], cells: list[str]) -> None:
        self.path, self.row = path, row
        if len(cells) != len(header):
            raise DataError(
                f"{path}, row {row}: it has {len(cells)} columns where the header has {len(header)}; "
                f"column {(header + ['(beyond the last)'])[min(len(cells), len(header))]!r} is the first in doubt."
            )
        self.cells = dict(zip(header, cells, strict=True))

    def parse(self) -> DigitString:
        recordings = tuple(self.cells["recordings"].split())
        if self.whole_number("n_digits", least=1) != len(recordings):
            raise self.error("recordings", f"names {len(recordings)} recordings but n_digits says otherwise")
        gaps_ms = tuple(self.whole_numbers("gaps_ms"))
        if len(gaps_ms) != len(recordings) + 1 or not all(0 <= gap <= MAX_GAP_MS for gap in gaps_ms):
            raise self.error("gaps_ms", f"must hold {len(recordings) + 1} pauses of 0 to {MAX_GAP_MS} ms")
        words = tuple(self.cells["transcript"].split())
        if len(words) != len(recordings):
            raise self.error("transcript", f"must hold one word for each of the {len(recordings)} recordings")
        return DigitString(
            utt_id=self.name("utt_id"),
            speaker=self.name("speaker"),
            recordings=recordings,
            gaps_ms=gaps_ms,
            noise_seed=self.whole_number("noise_seed", least=0),
            num_samples=self.whole_number("num_samples_16k", least=1),
            words=words,
            row=self.row,
        )

    def error(self, column: str, problem: str) -> DataError:
        return DataError(f"{self.path}, row {self.row}, column {column!r}: {self.cells[column]!r} {problem}.")

    def name(self, column: str) -> str:
        if not _NAME.fullmatch(self.cells[column]):
            raise self.error(
                column, "is no name; use letters, digits, '_', '-' and '.', and begin with a letter or digit"
            )
        return self.cells[column]

    def whole_number(self, column: str, *, least: int) -> int:
        numbers = self.whole_numbers(column)
        if len(numbers) != 1 or numbers[0] < least:
            raise self.error(column, f"must be one whole number of at least {least}")
        return numbers[0]

    def whole_numbers(self, column: str) -> list[int]:
        try:
            return [int(cell) for cell in self.cells[column].split()]
        except ValueError:
            raise self.error(column, "must hold whole numbers only") from None
