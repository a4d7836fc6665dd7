"""What a wheel says about itself: its `.dist-info` folder, and whether that fits its file name."""

from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from math import prod
from pathlib import Path
from typing import Final

from packaging.tags import Tag, parse_tag
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import Version

from dlimg.wheel.archive import ArchiveMember, WheelArchive, read_archive
from dlimg.wheel.errors import unfit
from dlimg.wheel.unpack import content

_SUFFIX: Final = ".dist-info"
_NEEDED: Final = ("METADATA", "RECORD", "WHEEL")
_MOST_TAGS: Final = 1000
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWheel:
    """A wheel that was looked into: `stem` is what its `.dist-info` and `.data` begin with."""

    archive: WheelArchive
    name: NormalizedName
    stem: str
    purelib: bool
    tags: frozenset[Tag]

    @property
    def file(self) -> str:
        return self.archive.file

    @property
    def information(self) -> str:
        """The folder with the wheel's metadata."""
        return f"{self.stem}{_SUFFIX}"

    @property
    def scheme_folder(self) -> str:
        """The folder whose parts go to other places than the library."""
        return f"{self.stem}.data"

    def member(self, path: str) -> ArchiveMember | None:
        return next((member for member in self.archive.members if member.path == path), None)

    def text(self, name: str) -> str:
        """A file of the metadata folder, empty where there is none; BadInput if it isn't UTF-8."""
        member = self.member(f"{self.information}/{name}")
        return _text(self.archive, member) if member else ""


def open_wheel(path: Path) -> OpenWheel:
    """The wheel; raises BadInput when its structure, name, version or format is not as it must be.

    The tags within the wheel may name another platform than the file name does (wheels are
    renamed so, and installers go by the file name), but not another Python.
    """
    archive = read_archive(path)
    stem = _stem(archive)
    folder = f"{stem}{_SUFFIX}"
    texts = {
        member.path.rpartition("/")[2]: _text(archive, member)
        for member in archive.members
        if member.path in {f"{folder}/{name}" for name in ("METADATA", "WHEEL")}
    }
    paths = {member.path for member in archive.members if not member.folder}
    for needed in _NEEDED:
        if f"{folder}/{needed}" not in paths:
            raise unfit(path.name, f"it has no {folder}/{needed}")
    wheel = Parser().parsestr(texts["WHEEL"], headersonly=True)
    _check_format(archive.file, wheel)
    name = _checked_name(archive.file, stem, Parser().parsestr(texts["METADATA"], headersonly=True))
    return OpenWheel(
        archive=archive,
        name=name,
        stem=stem,
        purelib=(wheel["Root-Is-Purelib"] or "").strip().lower() == "true",
        tags=_checked_tags(archive.file, wheel),
    )


def _stem(archive: WheelArchive) -> str:
    tops = {member.path.partition("/")[0] for member in archive.members}
    found = sorted(top.removesuffix(_SUFFIX) for top in tops if top.endswith(_SUFFIX))
    if len(found) != 1:
        shown = ", ".join(found) or "none"
        raise unfit(archive.file, f"it must have one folder *{_SUFFIX}, and has {shown}")
    return found[0]


def _text(archive: WheelArchive, member: ArchiveMember) -> str:
    try:
        return content(archive, member).decode("utf-8")
    except UnicodeDecodeError:
        raise unfit(archive.file, f"{member.path} is not UTF-8") from None


def _check_format(file: str, wheel: Message) -> None:
    major = (wheel["Wheel-Version"] or "").partition(".")[0].strip()
    if major != "1":
        raise unfit(file, f"it is of format {major or 'unknown'}, only 1 is known")


def _checked_name(file: str, stem: str, metadata: Message) -> NormalizedName:
    """The name that the file, the folder and the metadata agree on, or else BadInput."""
    try:
        name, version, _, _ = parse_wheel_filename(file)
        folder_name, _, folder_version = stem.rpartition("-")
        said = (metadata["Name"] or "", metadata["Version"] or "")
        for other, number in ((folder_name, folder_version), said):
            if canonicalize_name(other.strip()) != name:
                raise unfit(file, f"it holds {other!r}")
            if Version(number) not in {version, Version(version.public)}:
                raise unfit(file, f"it holds version {number!r}")
    except InvalidWheelFilename:
        raise unfit(file, "this is not the name of a wheel") from None
    except ValueError as error:  # InvalidVersion, or a number of too many digits
        raise unfit(file, f"it holds no version: {error}") from None
    return name


def _checked_tags(file: str, wheel: Message) -> frozenset[Tag]:
    said = [tag.strip() for tag in wheel.get_all("Tag", [])]
    if any(tag.count("-") != 2 for tag in said) or sum(map(_count, said)) > _MOST_TAGS:
        raise unfit(file, f"it holds the tags {', '.join(said)[:_SHOWN]}")
    try:
        tags = frozenset(tag for text in said for tag in parse_tag(text))
    except ValueError as error:
        raise unfit(file, f"it holds no tag: {error}") from None
    *_, of_file = parse_wheel_filename(file)
    if tags and not _pythons(tags) & _pythons(of_file):
        raise unfit(file, f"it holds a wheel for {', '.join(sorted(map(str, tags)))}")
    return tags


def _count(tag: str) -> int:
    """How many tags a compressed set of them stands for (PEP 425)."""
    return prod(part.count(".") + 1 for part in tag.split("-"))


def _pythons(tags: frozenset[Tag]) -> set[tuple[str, str]]:
    return {(tag.interpreter, tag.abi) for tag in tags}
