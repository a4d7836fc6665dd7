"""The name of an image at a registry, read as Docker reads it. Pure."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """An image's place: `host` is empty where the text names none, and `digest` outweighs `tag`."""

    host: str
    name: str
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """What stands behind the repository at the registry: the digest, or else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        place = f"{self.host}/{self.name}" if self.host else self.name
        tag = f":{self.tag}" if self.tag else ""
        return f"{place}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse_reference(text: str) -> ImageReference:
    """`host/name:tag@digest`, of which only the name must be there; no tag at all is `latest`.

    What stands before the first slash is a host when it has a dot or a port, or is `localhost`.
    Raises `BadInput` for a text that names no image.
    """
    rest, at, digest = text.partition("@")
    first, slash, others = rest.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, others) if is_host else ("", rest)
    name, colon, tag = path.partition(":")
    good = (
        (not is_host or (re.fullmatch(_HOST, host) and _has_good_port(host)))
        and _NAME.fullmatch(name)
        and (not colon or _TAG.fullmatch(tag))
        and (not at or DIGEST.fullmatch(digest))
    )
    if not good:
        raise BadInput(
            f"{text!r} names no image",
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
    """Where the registry of this name answers; encrypted unless it is on this very machine."""
    if host == DOCKER_HUB:
        return "https://registry-1.docker.io"
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine: what is said to it leaves for no network."""
    bare = re.sub(r":[0-9]+$", "", host).strip("[]")
    try:
        return bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
