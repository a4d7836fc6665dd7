"""The package indexes and the CA bundle that this environment names.

Locking, range requests to the index, and builds all read them here. Variables come before
configuration files, and uv's before pip's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.lock.local_wheels import folder_of_index
from dlimg.lock.routes import variable_part
from dlimg.pypi.settings_files import pip_file_indexes, uv_file_indexes

PYPI: Final = "https://pypi.org/simple"
_CERTIFICATES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_UV_INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The addresses of the default index and of further ones, which may have names.

    `named` are mirrors of the matrix's indexes, by name. `of_pip` is true if the further ones
    come from pip's variables.
    """

    default: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    of_pip: bool = False


def mirrors(context: Context) -> Mirrors:
    """Return the package indexes of this environment; the default is empty for PyPI.

    Raises BadInput for a configuration file that cannot be read.
    """
    variables = context.environment
    of_pip = not any(variables.get(name, "").strip() for name in _UV_INDEXES)
    if of_pip:
        default = variables.get("PIP_INDEX_URL", "")
        extra = variables.get("PIP_EXTRA_INDEX_URL", "")
    else:
        default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL", "")
        extra = f"{variables.get('UV_INDEX', '')} {variables.get('UV_EXTRA_INDEX_URL', '')}"
    entries = [named_index(entry) for entry in extra.split() if not folder_of_index(entry)]
    of_uv = uv_file_indexes(context)
    further = [entry for entry in (*entries, *of_uv.extra) if entry[0] not in context.indexes]
    named = [entry for entry in (*entries, *of_uv.extra, *of_uv.named) if entry[0]]
    return Mirrors(
        default=named_index(default)[1] or of_uv.default or pip_file_indexes(context).default,
        extra=tuple(dict.fromkeys(further)),
        named={name: url for name, url in reversed(named) if name in context.indexes},
        of_pip=of_pip and bool(entries),
    )


def index_address(name: str, context: Context) -> str:
    """Return the address of one of the matrix's indexes: a mirror, if one is set.

    Raises BadInput for an index that the matrix does not have.
    """
    address = mirrors(context).named.get(name) or context.indexes.get(name)
    if not address:
        raise BadInput(
            f"the matrix has no index {name}",
            hint="add it under `indexes`, or run `dlimg lock`",
        )
    return address


def addressed_indexes(context: Context) -> Iterator[tuple[str, str]]:
    """Yield name and address of every index; the default has no name."""
    indexes = mirrors(context)
    yield "", indexes.default or PYPI
    yield from indexes.extra
    for name in context.indexes:
        yield name, index_address(name, context)


def login_of(name: str, address: str, context: Context) -> tuple[str, str] | None:
    """Return user name and password of an index: from uv's variables, else from its address."""
    part = variable_part(name)
    user = context.environment.get(f"UV_INDEX_{part}_USERNAME", "") if name else ""
    password = context.environment.get(f"UV_INDEX_{part}_PASSWORD", "") if name else ""
    if user or password:
        return user, password
    parts = urlsplit(address)
    if parts.username:
        return unquote(parts.username), unquote(parts.password or "")
    return None


def with_login(name: str, address: str, context: Context) -> str:
    """Return the address with the index's user name and password in it, for secret files."""
    login = login_of(name, address, context)
    if not login:
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user, password = (quote(text, safe="") for text in login)
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


def without_login(address: str) -> str:
    """Return the address without a user name and password, as it may be shown."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def default_addresses(context: Context) -> tuple[str, ...]:
    """Return the web addresses of the indexes of all other packages, in the order of asking."""
    indexes = mirrors(context)
    urls = (*(url for _, url in indexes.extra), indexes.default or PYPI)
    return tuple(url for url in urls if url.startswith("http"))


def default_index_names(context: Context) -> tuple[str, ...]:
    """Return the addresses of these indexes as they may be shown."""
    indexes = mirrors(context)
    urls = (*(url for _, url in indexes.extra), indexes.default or PYPI)
    return tuple(without_login(url) for url in urls)


def check_pip_settings(context: Context) -> None:
    """Refuse `extra-index-url` of pip's files: pip takes the newest version of all indexes.

    An address of this machine (file:) cannot stand in a matrix, so it is left aside with a note.
    Nothing is refused where variables say what to use. Raises BadInput.
    """
    if any(name in context.environment for name in (*_UV_INDEXES, "PIP_EXTRA_INDEX_URL")):
        return
    of_pip = pip_file_indexes(context)
    if of_pip.forbids:
        context.log(f"{of_pip.forbids}: no-index is not used: the package index is asked")
    urls = [without_login(url) for _, url in of_pip.extra]
    remote = [url for url in urls if not url.startswith("file:")]
    if remote:
        routes = ", ".join(f"{_name_for(url)}: {{url: {url}, packages: [...]}}" for url in remote)
        raise BadInput(
            "extra-index-url is not used: it would not say which package comes from where",
            where=of_pip.source,
            hint=f"name its packages in matrix.yaml, `indexes: {{{routes}}}`, or leave it aside "
            "for this command with PIP_EXTRA_INDEX_URL= (empty)",
        )
    if urls:
        context.log(
            f"{of_pip.source}: extra-index-url is not used; name a folder of wheels with "
            "--find-links"
        )


def _name_for(url: str) -> str:
    """Return a name for the index at this address: `pypi.nvidia.com` is nvidia."""
    labels = (urlsplit(url).hostname or "").split(".")
    return (labels[-2] if len(labels) > 1 and not labels[-1].isdigit() else "") or "extra"


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
    """Return the environment for uv: the indexes of this module, and no configuration files.

    Those may choose versions, and a lock depends on the matrix and the indexes alone.
    """
    indexes = mirrors(context)
    chosen = _uv_base(context)
    if indexes.default:
        chosen["UV_DEFAULT_INDEX"] = indexes.default
    if indexes.extra:
        chosen["UV_INDEX"] = " ".join(_entries(indexes.extra))
    if indexes.of_pip:
        # pip takes the best version of all its indexes, and so do the builds.
        chosen.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return chosen


def uv_environment_for(name: str, context: Context) -> dict[str, str]:
    """Return the environment for uv with one of the matrix's indexes alone."""
    return {**_uv_base(context), "UV_DEFAULT_INDEX": f"{name}={index_address(name, context)}"}


def _uv_base(context: Context) -> dict[str, str]:
    chosen = {name: value for name, value in context.environment.items() if name not in _UV_INDEXES}
    chosen["UV_NO_CONFIG"] = "1"
    if certificates(context):
        chosen["SSL_CERT_FILE"] = certificates(context)
    return chosen


def _entries(indexes: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, url in indexes:
        yield f"{name}={url}" if name else url


def named_index(entry: str) -> tuple[str, str]:
    """Split uv's `name=address`; the name is empty if the entry is an address alone."""
    name, equals, address = entry.partition("=")
    is_named = equals and "/" not in name and ":" not in name
    return (name, address) if is_named else ("", entry)
