"""The commit that a project's files are at, as git tells; for evidence, never for an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.host.process import run

_SECONDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit, empty where git knows none; `dirty` when the project's files are changed since."""

    commit: str = ""
    dirty: bool = False


NO_REVISION: Final = Revision()


def revision_of(folder: Path, environment: Mapping[str, str]) -> Revision:
    """The revision of the project in this folder; none without git or outside of a repository."""
    commit = _said(folder, environment, "rev-parse", "--verify", "HEAD")
    if not commit:
        return NO_REVISION
    changed = _said(folder, environment, "status", "--porcelain", "--", ".")
    return Revision(commit=commit, dirty=changed != "")  # what cannot be told is not called clean


def _said(folder: Path, environment: Mapping[str, str], *words: str) -> str | None:
    """What git says; nothing at all when it fails."""
    # Without optional locks `status` writes nothing into a repository that is not ours.
    own = {**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    outcome = run(["git", "-C", str(folder), *words], env=own, timeout=_SECONDS)
    return outcome.stdout.strip() if outcome.returncode == 0 else None
