"""Reads the files of facts that come with dlimg, and caches their parsed rows."""

import json
import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from dlimg import __version__
from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.facts.load import Facts, Rows, facts_of
from dlimg.facts.parse import rows_of

FACTS: Final = Path(__file__).parent.parent / "facts"
# Modules that decide how rows are read: with others of them, cached rows are useless.
_FORMS: Final = ("model.py", "parse.py", "schema.py")


def read_facts() -> Facts:
    """Return all facts. Raises BadInput for a malformed file."""
    return _facts(tuple((name, read_text(_file(name))) for name in subject_names()))


@cache
def _facts(texts: tuple[tuple[str, str], ...]) -> Facts:
    return facts_of({f"{name}.yaml": _rows(name, text, _folder()) for name, text in texts})


def subject_names() -> list[str]:
    """Return the names of the files of facts, without their endings."""
    return sorted(path.stem for path in FACTS.glob("*.yaml"))


def read_rows(subject: str, folder: Path | None = None) -> Rows:
    """Return the rows of one subject. Raises BadInput for a malformed file.

    Parsing takes up to 0.1 s, so the rows are kept as JSON in `folder` (by default in the user's
    cache), under a name with the digest of the YAML. A cache that cannot be read or written is
    ignored.
    """
    return _rows(subject, read_text(_file(subject)), folder or _folder())


def _file(subject: str) -> Path:
    return FACTS / f"{subject}.yaml"


def _folder() -> Path:
    return Context.of(os.environ, print).cache / "facts"


def _rows(subject: str, text: str, folder: Path) -> Rows:
    path = folder / f"{subject}-{_digest(text)}.json"
    rows = _cached(path)
    if rows is None:
        rows = _parse(text, subject)
        _keep(rows, path)
    return rows


def _cached(path: Path) -> Rows | None:
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return rows if isinstance(rows, dict) else None


@cache
def _forms() -> bytes:
    return b"\0".join((FACTS / name).read_bytes() for name in _FORMS)


def _digest(text: str) -> str:
    content = b"\0".join((__version__.encode(), _forms(), text.encode()))
    return blake2b(content, digest_size=16).hexdigest()


def _parse(text: str, subject: str) -> Rows:
    return rows_of(text, f"{subject}.yaml")


def _keep(rows: Rows, path: Path) -> None:
    """Write rows to the cache, and remove those of an older YAML."""
    try:
        atomic_write(path, json.dumps(rows, ensure_ascii=False))
        subject = path.name.rpartition("-")[0]
        for older in path.parent.glob(f"{subject}-*.json"):
            if older != path:
                older.unlink(missing_ok=True)
    except OSError:
        return


def read_text(path: Path) -> str:
    """Return the text of a file. Raises BadInput for a missing file and for other than UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "run in the project's folder, name the file with --matrix, or `dlimg init` one"
        raise BadInput("there is no such file", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8"
        raise BadInput(f"not UTF-8 text: {error.reason}", where=str(path), hint=hint) from error
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
