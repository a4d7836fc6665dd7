"""Sources of data by their prefix: a path, https, Hugging Face, Kaggle, git. Pure."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from dlimg.errors import BadInput
from dlimg.run.names import name_from

SourceKind = Literal["path", "https", "hf", "kaggle", "git"]
_REPOSITORY: Final = r"[\w.-]+/[\w.-]+"
_HF: Final = re.compile(
    rf"(?P<kind>(?:datasets|spaces)/)?(?P<id>{_REPOSITORY})(?:@(?P<rev>[\w./-]+))?"
)
_KAGGLE: Final = re.compile(rf"(?P<competition>competitions/[\w-]+)|(?P<id>{_REPOSITORY})")
_SHA256: Final = re.compile(r"sha256=([0-9a-f]{64})")
_HINT: Final = (
    "write a path, https://..., hf:OWNER/MODEL, hf:datasets/OWNER/NAME, kaggle:OWNER/NAME, "
    "kaggle:competitions/NAME or git:URL#REVISION"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """A source of data; `location` is a path, an address or a repository, without the prefix.

    `revision` is for git and Hugging Face; `sha256` is that of an address with `#sha256=...`.
    """

    kind: SourceKind
    location: str
    revision: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file to download; `size` is -1 and `sha256` empty where they are not known."""

    url: str
    path: str
    size: int = -1
    sha256: str = ""


def parse_source(text: str) -> DataSource:
    """Return the source that a text names. Raises BadInput for an unusable one."""
    prefix, colon, name = text.partition(":")
    match prefix if colon else "":
        case "https" | "http":
            return _address(text)
        case "hf":
            match = _HF.fullmatch(name)
            if match:
                repository = f"{match['kind'] or ''}{match['id']}"
                return DataSource(kind="hf", location=repository, revision=match["rev"] or "main")
        case "kaggle":
            if _KAGGLE.fullmatch(name):
                return DataSource(kind="kaggle", location=name)
        case "git":
            url, _, revision = name.partition("#")
            # A leading dash would be an option of git.
            if url and not url.startswith("-") and not revision.startswith("-"):
                return DataSource(kind="git", location=url, revision=revision)
        case _:
            return DataSource(kind="path", location=text)
    raise BadInput(f"{text!r} is no source of data", hint=_HINT)


def _address(text: str) -> DataSource:
    parts = urlsplit(text)
    digest = _SHA256.fullmatch(parts.fragment)
    if not parts.hostname or (parts.fragment and not digest):
        hint = f"{_HINT}; an address may end with #sha256=..."
        raise BadInput(f"{text!r} is no source of data", hint=hint)
    if parts.password:
        hint = "write it without the password; ~/.netrc holds logins"
        raise BadInput("the address has a password in it, which would be kept", hint=hint)
    url = parts._replace(fragment="").geturl()
    return DataSource(kind="https", location=url, sha256=digest[1] if digest else "")


def file_name(url: str) -> str:
    """Return the name for the file of an address."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return name if re.fullmatch(r"[\w.-]+", name) and name.strip(".") else name_from(name or "data")


def is_safe_path(path: str) -> bool:
    """Return whether a path that a server names stays below the folder of the data."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path
