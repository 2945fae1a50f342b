"""`python -m tests.conf.refresh` writes the snapshots anew; look at the difference before committing it."""

from tests.conf.recipes import SNAPSHOTS, choices, resolved


def main() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for recipe in choices("recipe"):
        (SNAPSHOTS / f"{recipe}.yaml").write_text(resolved(recipe), encoding="utf-8")


if __name__ == "__main__":
    main()
