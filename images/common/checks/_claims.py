"""Claims: the content, mode and type that a source (a package, the layout) expects of a path."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import _dpkg
import _tree

PLAIN, PROGRAM, FOLDER = 0o644, 0o755, 0o755
ROOT = (0, 0)
LINK_MODE = 0o777

# What is wrong with an entry, or an empty text.
Judge = Callable[[_tree.Entry], str]
Claims = dict[str, Judge]


class Image(NamedTuple):
    """The image under check: its root, its paths and dpkg's database."""

    top: Path
    tree: _tree.Tree
    packages: _dpkg.Packages
    installed: frozenset[str]

    def text(self, path: str) -> str:
        """Return the text of a file, or an empty one."""
        try:
            return (self.top / path).read_text(errors="surrogateescape")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return ""

    def is_packaged(self, path: str) -> bool:
        """Return whether the target of an absolute or relative path is a package's."""
        path = path.strip("/")
        return path in self.packages.listed or self.real(path) in self.packages.listed

    def real(self, path: str) -> str:
        """Return the path from the root with the links of its folders resolved."""
        folder, _, name = path.strip("/").rpartition("/")
        real = (self.top / folder).resolve()
        top = self.top.resolve()
        return f"{real.relative_to(top)}/{name}" if real.is_relative_to(top) else path

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; none where there is no such folder."""
        try:
            return sorted(path.name for path in (self.top / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def file(
    content: Callable[[], str] | None = None,
    *,
    modes: Iterable[int] = (PLAIN,),
    owner: tuple[int, int] = ROOT,
) -> Judge:
    """Return a claim for a file with one of these modes; `content` returns its fault."""
    return _judge("file", frozenset(modes), owner, lambda _: content() if content else "")


def folder(mode: int = FOLDER, owner: tuple[int, int] = ROOT) -> Judge:
    return _judge("folder", frozenset({mode}), owner, lambda _: "")


def link(*targets: str, owner: tuple[int, int] = ROOT) -> Judge:
    """Return a claim for a link to one of these targets."""
    return _judge(
        "link",
        frozenset({LINK_MODE}),
        owner,
        lambda entry: "" if entry.target in targets else f"leads to {entry.target}",
    )


def empty(*modes: int) -> Judge:
    """Return a claim for an empty file, such as a lock."""
    return _judge(
        "file",
        frozenset(modes or (PLAIN,)),
        ROOT,
        lambda entry: "is not empty" if entry.size else "",
    )


def digest(top: Path, path: str, sha256: str, mode: int, owner: tuple[int, int]) -> Judge:
    """Return a claim for a file with exactly this content."""

    def content() -> str:
        stripped = hashlib.sha256((top / path).read_bytes()).hexdigest()
        return "" if stripped == sha256 else "has another content"

    return file(content, modes=(mode,), owner=owner)


def copy(image: Image, path: str, *sources: str, owner: tuple[int, int] = ROOT) -> Judge:
    """Return a claim for a copy of a package's file."""

    def content() -> str:
        texts = [image.text(source) for source in sources if image.is_packaged(source)]
        return "" if image.text(path) in texts else f"is no copy of /{sources[0]}"

    return file(content, owner=owner)


def lines(image: Image, path: str, allowed: str, modes: Iterable[int] = (PLAIN,)) -> Judge:
    """Return a claim for a file whose lines match a pattern, comments and empty lines apart."""
    pattern = re.compile(allowed)

    def content() -> str:
        for number, line in enumerate(image.text(path).splitlines(), 1):
            # The line itself is not told: somebody may have put a secret there.
            if stated(line) and not pattern.fullmatch(line.strip()):
                return f"has a line that no package writes: line {number}"
        return ""

    return file(content, modes=modes)


def joined_later(faults: Callable[..., Iterable[str]], *arguments: object) -> Callable[[], str]:
    """Return a function that computes the faults when called, joined into one text."""
    return lambda: joined(faults(*arguments))


def joined(faults: Iterable[str]) -> str:
    """Return the faults without repetitions, in one text."""
    return ", ".join(dict.fromkeys(faults))


def stated(text: str) -> list[str]:
    """Return the lines without comments and empty lines."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _judge(
    kind: str, modes: frozenset[int], owner: tuple[int, int], more: Callable[[_tree.Entry], str]
) -> Judge:
    def judge(entry: _tree.Entry) -> str:
        if entry.kind != kind:
            return f"is a {entry.kind}, not a {kind}"
        if (entry.uid, entry.gid) != owner:
            return f"belongs to {entry.uid}:{entry.gid}, not {owner[0]}:{owner[1]}"
        if entry.mode not in modes:
            return f"has mode {entry.mode:o}, not {min(modes):o}"
        return more(entry)

    return judge
