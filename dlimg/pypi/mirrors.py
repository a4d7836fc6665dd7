"""The package indexes and the CA bundle that environment variables name.

Locking, range requests to the index, and builds all read them here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.context import Context

_CERTIFICATES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The addresses of the default index and of further ones, which may have names.

    `of_pip` is true if they come from pip's variables, because none of uv's is set.
    """

    default: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    of_pip: bool = False


def mirrors(context: Context) -> Mirrors:
    """Return the package indexes from uv's variables, or from pip's if uv's are not set."""
    variables = context.environment
    default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL", "")
    extra = f"{variables.get('UV_INDEX', '')} {variables.get('UV_EXTRA_INDEX_URL', '')}"
    of_pip = not default and not extra.strip()
    if of_pip:
        default = variables.get("PIP_INDEX_URL", "")
        extra = variables.get("PIP_EXTRA_INDEX_URL", "")
    return Mirrors(
        default=named_index(default)[1],
        extra=tuple(named_index(entry) for entry in extra.split()),
        of_pip=of_pip,
    )


def certificates_variable(context: Context) -> str:
    """Return the variable that names the CA bundle to use, or an empty text."""
    # Some of these may name a folder, which cannot be mounted as a secret file.
    candidates = (
        name
        for name in _CERTIFICATES
        if context.environment.get(name) and not Path(context.environment[name]).is_dir()
    )
    return next(candidates, "")


def certificates(context: Context) -> str:
    """Return the path of the CA bundle to use, or an empty text."""
    return context.environment.get(certificates_variable(context), "")


def uv_environment(context: Context) -> dict[str, str]:
    """Return the environment for uv, with pip's indexes and certificates if uv has none."""
    chosen = dict(context.environment)
    indexes = mirrors(context)
    if indexes.of_pip and indexes.default:
        chosen["UV_DEFAULT_INDEX"] = indexes.default
    if indexes.of_pip and indexes.extra:
        chosen["UV_INDEX"] = " ".join(address for _, address in indexes.extra)
        # pip takes the best version of all its indexes, and so do the builds.
        chosen.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if certificates(context):
        chosen["SSL_CERT_FILE"] = certificates(context)
    return chosen


def named_index(entry: str) -> tuple[str, str]:
    """Split uv's `name=address`; the name is empty if the entry is an address alone."""
    name, equals, address = entry.partition("=")
    is_named = equals and "/" not in name and ":" not in name
    return (name, address) if is_named else ("", entry)
