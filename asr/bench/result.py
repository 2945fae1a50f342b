"""What a benchmark found: rows of a table, kept as JSON beside the machine's description."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    work: str
    """What was measured, against what."""
    value: float | None
    """The ratio, share or rate; None where it could not be measured, and then `note` says why."""
    must: float | None = None
    """The bound that has to hold."""
    aim: float | None = None
    """The bound that is hoped for."""
    at_most: bool = True
    """Whether the bounds are upper ones."""
    spread: tuple[float, float] | None = None
    """The middle half of what single rounds gave, where rounds were compared."""
    note: str = ""
    """Medians of both sides, and whatever a reader needs to judge the number."""

    def meets(self, bound: float | None) -> bool | None:
        """Whether the value keeps within `bound`; None where there is nothing to compare."""
        if self.value is None or bound is None:
            return None
        return self.value <= bound if self.at_most else self.value >= bound


def keep(folder: Path, name: str, rows: Sequence[Row], machine: dict[str, Any], *, took_s: float) -> Path:
    """Write one benchmark's rows to `folder`/NAME.json, replacing an earlier run's; the run took so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about = {"benchmark": name, "when": when, "took_s": round(took_s), "machine": machine}
    result = {**about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def kept(folder: Path, names: Sequence[str]) -> dict[str, tuple[dict[str, Any], list[Row]]]:
    """What earlier runs left in `folder`, {name: (machine, rows)}, in the order of `names`."""
    found = {}
    for name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            found[name] = result["machine"], [_row(values) for values in result["rows"]]
    return found


def _row(values: dict[str, Any]) -> Row:
    spread = values.pop("spread")
    return Row(spread=None if spread is None else (spread[0], spread[1]), **values)
