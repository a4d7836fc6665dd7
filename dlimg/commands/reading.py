"""The files of facts, read; apart from the project, because `why` and `facts` need no matrix."""

from pathlib import Path
from typing import Final

from dlimg.choose.facts import Facts, facts_of
from dlimg.choose.facts_kept import Rows, uncompiled
from dlimg.errors import BadInput

FACTS: Final = Path(__file__).parent.parent / "facts"


def read_facts(*subjects: str) -> Facts:
    """The facts about these subjects; about all of them where none is named.

    Raises BadInput where a file is not as it should be.
    """
    names = subjects or [path.stem for path in sorted(FACTS.glob("*.yaml"))]
    return facts_of({f"{name}.yaml": read_rows(name) for name in names})


def read_rows(subject: str) -> Rows:
    """The rows of one subject: from its JSON, unless somebody has changed the YAML since."""
    text = read_text(FACTS / f"{subject}.yaml")
    kept = FACTS / "compiled" / f"{subject}.json"
    rows = uncompiled(read_text(kept), text) if kept.exists() else None
    if rows is None:
        from dlimg.choose.facts_text import rows_of  # noqa: PLC0415 - seldom, and slow

        rows = rows_of(text, f"{subject}.yaml")
    return rows


def read_text(path: Path) -> str:
    """The text of a file. Raises BadInput where there is none, or where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "run in the project's folder, or name the file with --matrix"
        raise BadInput("there is no such file", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 text: {error.reason}", where=str(path)) from error
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
