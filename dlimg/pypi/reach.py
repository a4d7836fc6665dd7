"""The matrix's indexes as they can be reached: their addresses here, and whether they answer."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import requests

from dlimg.context import Context
from dlimg.lock.routes import IndexAccess
from dlimg.model import NamedIndex
from dlimg.pypi.index import SECONDS, open_index, short_reason
from dlimg.pypi.mirrors import index_address, login_of, without_login
from dlimg.pypi.simple_api import ACCEPT

_CONNECT_SECONDS: Final = 10
_REFUSED: Final = frozenset({401, 403, 407})


def index_access(context: Context) -> Callable[[NamedIndex], IndexAccess]:
    """Return a function that asks an index for one of its packages, once for each index."""
    known: dict[str, IndexAccess] = {}
    turns: dict[str, Lock] = {name: Lock() for name in context.indexes}

    def reach(index: NamedIndex) -> IndexAccess:
        with turns[index.name]:
            if index.name not in known:
                address = index_address(index.name, context)
                known[index.name] = IndexAccess(
                    address=address,
                    shown=without_login(address),
                    obstacle=_obstacle(index, address, context),
                )
            return known[index.name]

    return reach


def _obstacle(index: NamedIndex, address: str, context: Context) -> str:
    """Return why the index does not answer, or an empty text."""
    if not address.startswith("http"):
        return ""
    http = open_index(context, context.cache / "wheels", retries=1)
    page = f"{without_login(address).rstrip('/')}/{min(index.packages)}/"
    settings: dict[str, Any] = {
        "timeout": (_CONNECT_SECONDS, SECONDS),
        "verify": http.session.verify,
        "headers": {"Accept": ACCEPT},
        "stream": True,
    }
    try:
        with http.session.get(page, **settings) as response:
            if response.status_code in _REFUSED:
                return _login_obstacle(index.name, response.status_code, address, context)
            if response.status_code != requests.codes.not_found:
                response.raise_for_status()
    except requests.RequestException as error:
        return _network_reason(error)
    return ""


def _login_obstacle(name: str, status: int, address: str, context: Context) -> str:
    obstacle = "refuses this login" if login_of(name, address, context) else "wants a login"
    return f"it {obstacle} ({status})"


def _network_reason(error: requests.RequestException) -> str:
    """Return a reason in plain words: the message of requests repeats the address."""
    text = str(error)
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    if "NameResolutionError" in text or "Name or service not known" in text:
        return "its name cannot be resolved"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let this through"
    if isinstance(error, requests.ConnectionError):
        return "no connection to it can be made"
    return short_reason(error)
