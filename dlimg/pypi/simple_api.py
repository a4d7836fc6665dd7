"""The simple repository API: the files that a package index lists for a project.

Reads JSON (PEP 691) and HTML (PEP 503), whichever the index sends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

from dlimg.errors import NetworkFailure
from dlimg.pypi.index import SECONDS, PackageIndex, short_reason
from dlimg.pypi.mirrors import without_login

JSON: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{JSON}, text/html;q=0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file of a project: its name and URL.

    `yanked` is the reason, or `yanked` if none is given; `uploaded` an ISO time. Both are
    empty for a file that is not yanked, or whose time the index does not tell.
    """

    file: str
    url: str
    sha256: str = ""
    yanked: str = ""
    uploaded: str = ""
    requires_python: str = ""


def list_files(
    index: PackageIndex, addresses: Sequence[str], project: str
) -> tuple[IndexFile, ...]:
    """Return a project's files in the first index that has any; empty for an unknown project.

    Raises NetworkFailure for an index without a valid answer.
    """
    for address in addresses:
        files = _read_page(index, f"{address.rstrip('/')}/{project}/")
        if files:
            return files
    return ()


def _read_page(index: PackageIndex, page: str) -> tuple[IndexFile, ...]:
    host = urlsplit(page).hostname or page
    settings: dict[str, Any] = {"timeout": SECONDS, "verify": index.session.verify}
    try:
        response = index.session.get(without_login(page), headers={"Accept": ACCEPT}, **settings)
        if response.status_code == requests.codes.not_found:
            return ()
        response.raise_for_status()
        if "json" in response.headers.get("Content-Type", ""):
            return tuple(_parse_json(row, response.url) for row in response.json()["files"])
        return parse_html(response.text, response.url)
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise NetworkFailure(
            f"{host} does not list its files: {short_reason(error)}",
            hint="check the network, the proxy and the index address",
        ) from error


def _parse_json(row: Mapping[str, Any], page: str) -> IndexFile:
    yanked = row.get("yanked", False)
    return IndexFile(
        file=row["filename"],
        url=urljoin(page, row["url"]),
        sha256=row.get("hashes", {}).get("sha256", ""),
        yanked=yanked if isinstance(yanked, str) else "yanked" * bool(yanked),
        uploaded=row.get("upload-time") or "",
        requires_python=row.get("requires-python") or "",
    )


def parse_html(text: str, page: str) -> tuple[IndexFile, ...]:
    """Return the files that an HTML page of the simple API links to."""
    parser = _LinkParser(page)
    parser.feed(text)
    return tuple(parser.files)


class _LinkParser(HTMLParser):
    """Collects the links of one page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag != "a" or "href" not in values:
            return
        url, fragment = urldefrag(urljoin(self.page, values["href"]))
        algorithm, _, digest = fragment.partition("=")
        self.files.append(
            IndexFile(
                file=unquote(urlsplit(url).path.rpartition("/")[2]),
                url=url,
                sha256=digest if algorithm == "sha256" else "",
                yanked=(values["data-yanked"] or "yanked") if "data-yanked" in values else "",
                uploaded=values.get("data-upload-time", ""),
                requires_python=values.get("data-requires-python", ""),
            )
        )
