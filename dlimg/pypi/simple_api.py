"""What the package index has of a project: its page comes in, its files come out.

The simple repository API, as JSON (PEP 691) or as HTML (PEP 503), whichever the index gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests
import uv

from dlimg.errors import NetworkFailure
from dlimg.host.process import run
from dlimg.pypi.index import SECONDS, PackageIndex
from dlimg.pypi.mirrors import uv_environment

JSON: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{JSON}, text/html;q=0.5"
FLAGS: Final = ("--index-url", "--extra-index-url")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file of a project; `yanked` says why not to take it, `uploaded` begins with the day."""

    file: str
    address: str
    sha256: str = ""
    yanked: str = ""
    uploaded: str = ""
    requires_python: str = ""


def index_addresses(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The indexes in the order in which uv asks them: its variables, files and default count."""
    argv = [uv.find_uv_bin(), "pip", "compile", "-", "--quiet", "--offline", "--no-header"]
    found = run([*argv, "--emit-index-url"], env=uv_environment(environment), stdin="", timeout=60)
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines() if line.strip()]
    by_flag = {flag: [one[1] for one in lines if one[0] == flag] for flag in FLAGS}
    named = (*by_flag[FLAGS[1]], *by_flag[FLAGS[0]])
    addresses = tuple(one for one in named if one.startswith("http"))
    if not addresses:
        hint = "set UV_DEFAULT_INDEX to the address of an index"
        raise NetworkFailure("uv names no package index", hint=hint)
    return addresses


def offers(index: PackageIndex, addresses: Sequence[str], project: str) -> tuple[IndexFile, ...]:
    """The files of a project in the first index that has any; none where no index knows it.

    Raises NetworkFailure when an index does not answer as it should.
    """
    for address in addresses:
        page = f"{address.rstrip('/')}/{project}/"
        found = _asked(index, page)
        if found:
            return found
    return ()


def _asked(index: PackageIndex, page: str) -> tuple[IndexFile, ...]:
    host = urlsplit(page).hostname or page
    settings: dict[str, Any] = {"timeout": SECONDS, "verify": index.session.verify}
    try:
        answer = index.session.get(_plain(page), headers={"Accept": ACCEPT}, **settings)
        if answer.status_code == requests.codes.not_found:
            return ()
        answer.raise_for_status()
        if "json" in answer.headers.get("Content-Type", ""):
            return tuple(_of_json(one, answer.url) for one in answer.json()["files"])
        return html_offers(answer.text, answer.url)
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        hint = "check the network, the proxy and the index address"
        raise NetworkFailure(f"{host} does not list its files: {reason}", hint=hint) from error


def _plain(page: str) -> str:
    """The address without the login, which the session knows."""
    parts = urlsplit(page)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _of_json(one: Mapping[str, Any], page: str) -> IndexFile:
    yanked = one.get("yanked", False)
    return IndexFile(
        file=one["filename"],
        address=urljoin(page, one["url"]),
        sha256=one.get("hashes", {}).get("sha256", ""),
        yanked=yanked if isinstance(yanked, str) else "yanked" * bool(yanked),
        uploaded=one.get("upload-time") or "",
        requires_python=one.get("requires-python") or "",
    )


def html_offers(text: str, page: str) -> tuple[IndexFile, ...]:
    """The files that an HTML page of the simple API links to."""
    reader = _Links(page)
    reader.feed(text)
    return tuple(reader.found)


class _Links(HTMLParser):
    """Collects the links of one page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.found: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag != "a" or "href" not in said:
            return
        address, fragment = urldefrag(urljoin(self.page, said["href"]))
        kind, _, digest = fragment.partition("=")
        yanked = (said["data-yanked"] or "yanked") if "data-yanked" in said else ""
        self.found.append(
            IndexFile(
                file=unquote(urlsplit(address).path.rpartition("/")[2]),
                address=address,
                sha256=digest if kind == "sha256" else "",
                yanked=yanked,
                uploaded=said.get("data-upload-time", ""),
                requires_python=said.get("data-requires-python", ""),
            )
        )
