"""Where packages come from, as the environment says it: index addresses and the CA bundle.

One reading for all: for locking, for the index's range requests, and for the builds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CERTIFICATES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The default index's address, and further ones by name; `of_pip` when pip's were read."""

    default: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    of_pip: bool = False


def mirrors(environment: Mapping[str, str]) -> Mirrors:
    """The package indexes as uv reads its variables, or else as pip reads its own."""
    default = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL", "")
    extra = f"{environment.get('UV_INDEX', '')} {environment.get('UV_EXTRA_INDEX_URL', '')}"
    of_pip = not default and not extra.strip()
    if of_pip:
        default = environment.get("PIP_INDEX_URL", "")
        extra = environment.get("PIP_EXTRA_INDEX_URL", "")
    return Mirrors(
        default=_named(default)[1],
        extra=tuple(_named(text) for text in extra.split()),
        of_pip=of_pip,
    )


def certificates_variable(environment: Mapping[str, str]) -> str:
    """The variable that names the CA bundle to use, or an empty text where none does."""
    # Some of these may name a folder; such a one cannot be handed over as a file.
    named = (
        name
        for name in _CERTIFICATES
        if environment.get(name) and not Path(environment[name]).is_dir()
    )
    return next(named, "")


def certificates(environment: Mapping[str, str]) -> str:
    """The path of the CA bundle to use, or an empty text."""
    return environment.get(certificates_variable(environment), "")


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What uv's solving gets: pip's indexes and certificates are taken over where uv has none."""
    chosen = dict(environment)
    found = mirrors(environment)
    if found.of_pip and found.default:
        chosen["UV_DEFAULT_INDEX"] = found.default
    if found.of_pip and found.extra:
        chosen["UV_INDEX"] = " ".join(address for _, address in found.extra)
        # pip takes the best version of all its indexes, and so do the builds.
        chosen.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if certificates(environment):
        chosen["SSL_CERT_FILE"] = certificates(environment)
    return chosen


def _named(text: str) -> tuple[str, str]:
    """`name=address` as its parts; the name is empty where the text is an address alone."""
    name, equals, address = text.partition("=")
    is_named = equals and "/" not in name and ":" not in name
    return (name, address) if is_named else ("", text)
