"""Being let in: a registry's challenge and the user's login to what the next request carries."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.login import Login
from dlimg.registry.responses import RegistryRefusal, json_object, refusal
from dlimg.registry.session import Registry, RegistryRequest, is_private_way, send

_WORD: Final = re.compile(r'(\w+)="([^"]*)"')
_CHALLENGE: Final = re.compile(r"\b(bearer|basic)\b", re.IGNORECASE)


def scope_of(name: str, request: RegistryRequest) -> str:
    """What is asked for, in the words of the token protocol: one repository a line."""
    scopes = [f"repository:{name}:{request.actions}"]
    if request.source:
        scopes.append(f"repository:{request.source}:pull")
    return "\n".join(scopes)


def grant(registry: Registry, challenge: str, scope: str) -> str:
    """The `Authorization` that answers a registry's `WWW-Authenticate`; kept for this scope.

    Raises `NetworkFailure` when the registry wants a login that is not there, or refuses the one
    that is.
    """
    login = registry.login()
    kind, words = read_challenge(challenge)
    if kind == "bearer" and words.get("realm"):
        text = f"Bearer {_token(registry, words, scope.split(), login)}"
    elif kind == "basic" and login and login.name:
        text = basic(login)
    else:
        raise RegistryRefusal(
            f"the registry {registry.host} wants a login",
            status=401,
            hint=f"`docker login {registry.host}`",
        )
    registry.granted[scope] = text
    return text


def read_challenge(text: str) -> tuple[str, Mapping[str, str]]:
    """The kind of a challenge, `bearer` before `basic`, and its words; empty for any other."""
    marks = list(_CHALLENGE.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found = {
        mark[1].lower(): dict(_WORD.findall(text[mark.end() : end]))
        for mark, end in zip(marks, ends, strict=False)
    }
    return next(((kind, found[kind]) for kind in ("bearer", "basic") if kind in found), ("", {}))


def basic(login: Login) -> str:
    """The login as it is, for a connection that nobody reads along."""
    pair = base64.b64encode(f"{login.name}:{login.password}".encode()).decode("ascii")
    return f"Basic {pair}"


def _token(
    registry: Registry, words: Mapping[str, str], scopes: Iterable[str], login: Login | None
) -> str:
    realm = words["realm"]
    if login and not is_private_way(realm):
        raise NetworkFailure(
            f"the registry {registry.host} wants the login sent to {realm}, where others can read"
        )
    asked: dict[str, Any] = {"service": words.get("service", ""), "scope": list(scopes)}
    with _asked(registry, realm, asked, login) as answer:
        if not answer.ok:
            raise refusal(registry.host, answer, f"gives no access to {', '.join(asked['scope'])}")
        found = json_object(answer, registry.host)
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str):
        raise NetworkFailure(f"what grants access to {registry.host} sends no token")
    return token


def _asked(
    registry: Registry, realm: str, asked: Mapping[str, Any], login: Login | None
) -> requests.Response:
    """The answer of the place that grants tokens: it may be another host than the registry."""
    if not login or not login.token:
        address = str(requests.Request("GET", realm, params=asked).prepare().url)
        # The login goes where the registry says: for that one request this is its home.
        shown = basic(login) if login else ""
        return send(registry, address, RegistryRequest(method="GET", path=""), shown, home=address)
    form = {
        **asked,
        "scope": " ".join(asked["scope"]),
        "grant_type": "refresh_token",
        "client_id": "dlimg",
        "refresh_token": login.token,
    }
    prepared = requests.Request("POST", realm, data=form).prepare()
    body = str(prepared.body).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = RegistryRequest(method="POST", path="", headers=headers, body=body)
    return send(registry, realm, request, "", home=realm)
