"""References to images at a registry, parsed by Docker's rules."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from dlimg.errors import BadInput

DOCKER_HUB: Final = "docker.io"
_HOST: Final = r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGITS, _PORTS = 5, 1 << 16
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PREFIX: Final = re.compile(
    r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """The parts of an image reference; `host` is empty if none is given."""

    host: str
    name: str
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """The digest, or else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        repository = f"{self.host}/{self.name}" if self.host else self.name
        tag = f":{self.tag}" if self.tag else ""
        return f"{repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse_reference(text: str) -> ImageReference:
    """Parse `host/name:tag@digest`; without tag and digest the tag is `latest`.

    The part before the first slash is a host when it has a dot or a port, or is `localhost`.
    Raises `BadInput` for a text that is not a reference.
    """
    rest, at, digest = text.partition("@")
    first, slash, others = rest.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, others) if is_host else ("", rest)
    name, colon, tag = path.partition(":")
    is_valid = (
        (not is_host or (re.fullmatch(_HOST, host) and _has_good_port(host)))
        and _NAME.fullmatch(name)
        and (not colon or _TAG.fullmatch(tag))
        and (not at or DIGEST.fullmatch(digest))
    )
    if not is_valid:
        raise BadInput(
            f"{text!r} is no image reference",
            hint="write HOST/NAME:TAG, HOST/NAME@sha256:..., or the name of one in the engine",
        )
    if host == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    return ImageReference(
        host=host, name=name, tag=tag or ("" if digest else "latest"), digest=digest
    )


def _has_good_port(host: str) -> bool:
    port = re.search(r":([0-9]+)$", host)
    return port is None or (len(port[1]) <= _DIGITS and int(port[1]) < _PORTS)


def registry_url(host: str) -> str:
    """Return the registry's URL: plain http for loopback addresses, https for all others."""
    if host == DOCKER_HUB:
        return "https://registry-1.docker.io"
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def is_loopback(host: str) -> bool:
    """Return whether `host[:port]` is a loopback address."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_destination(prefix: str, where: str = "--to") -> None:
    """Raise `BadInput` for a text that is not a prefix at a registry."""
    if not _PREFIX.fullmatch(prefix):
        raise BadInput(
            f"{prefix!r} is no prefix at a registry",
            where=where,
            hint="write host[:port][/path] in lower case, without https://",
        )
