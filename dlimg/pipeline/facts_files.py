"""The files of facts that come with dlimg, read."""

from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.facts.load import Facts, facts_of
from dlimg.facts.parse import Rows, uncompiled

FACTS: Final = Path(__file__).parent.parent / "facts"


def read_facts(*subjects: str) -> Facts:
    """Return the facts about these subjects; without any, all facts.

    Raises BadInput for a malformed file.
    """
    names = subjects or [path.stem for path in sorted(FACTS.glob("*.yaml"))]
    return facts_of({f"{name}.yaml": read_rows(name) for name in names})


def read_rows(subject: str) -> Rows:
    """Return the rows of one subject, from its JSON unless the YAML has changed since."""
    text = read_text(FACTS / f"{subject}.yaml")
    compiled = FACTS / "compiled" / f"{subject}.json"
    rows = uncompiled(read_text(compiled), text) if compiled.exists() else None
    if rows is None:
        from dlimg.facts.parse import rows_of  # noqa: PLC0415 - seldom, and slow

        rows = rows_of(text, f"{subject}.yaml")
    return rows


def read_text(path: Path) -> str:
    """Return the text of a file. Raises BadInput for a missing file and for other than UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "run in the project's folder, or name the file with --matrix"
        raise BadInput("there is no such file", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 text: {error.reason}", where=str(path)) from error
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
