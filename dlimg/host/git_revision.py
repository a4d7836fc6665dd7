"""The git commit of a project, which evidence records; it is never a part of an image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.host.process import run
from dlimg.image_files import is_installed

_SECONDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit, empty without one; `dirty` when the project has uncommitted changes."""

    commit: str = ""
    dirty: bool = False


NO_REVISION: Final = Revision()


def revision_of(folder: Path, context: Context) -> Revision:
    """Return the revision of the project in a folder; empty without git or a repository.

    The installed package is none, even in an environment inside of some repository.
    """
    if is_installed(folder):
        return NO_REVISION
    commit = _git(folder, context, "rev-parse", "--verify", "HEAD")
    if not commit:
        return NO_REVISION
    changes = _git(folder, context, "status", "--porcelain", "--", ".")
    return Revision(commit=commit, dirty=changes != "")  # also when git cannot tell


def _git(folder: Path, context: Context, *arguments: str) -> str | None:
    """Return the output of a git command, or None when it fails."""
    # Without optional locks, `status` writes nothing into the repository.
    variables = {**context.environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    completed = run(["git", "-C", str(folder), *arguments], env=variables, timeout=_SECONDS)
    return completed.stdout.strip() if completed.returncode == 0 else None
