"""Logins from Docker's settings, and the challenges by which a registry requires them."""

import base64
import binascii
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from docker.auth import load_config
from docker.errors import DockerException

from dlimg.context import Context
from dlimg.engine.docker_address import docker_config_folder, read_settings
from dlimg.errors import BadInput

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_SCHEME: Final = re.compile(r"\b(bearer|basic)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name with its password, or an identity token instead of both."""

    name: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def login_for(host: str, context: Context) -> Login | None:
    """Return the login that `docker login` stored for this registry, or None.

    Raises `BadInput` for settings that cannot be read, and when a credential helper fails.
    """
    file = docker_config_folder(context) / "config.json"
    settings = dict(read_settings(file))
    credentials = {
        name: settings[name]
        for name in ("auths", "credHelpers", "credsStore")
        if settings.get(name)
    }
    if not credentials:
        return None
    try:
        with warnings.catch_warnings():
            # The library warns of a missing helper; below it is an error.
            warnings.simplefilter("ignore")
            config = load_config(config_dict=credentials, credstore_env=dict(context.environment))
            entry = config.resolve_authconfig(host)
    except (DockerException, binascii.Error, ValueError, TypeError) as error:
        raise BadInput(
            f"the login for {host} cannot be read: {error}",
            where=str(file),
            hint=f"`docker login {host}` writes it again; repair `credsStore` if its helper is "
            "missing",
        ) from error
    values = {name.lower(): str(value) for name, value in (entry or {}).items() if value}
    login = Login(
        name=values.get("username", ""),
        password=values.get("password", ""),
        token=values.get("identitytoken", ""),
    )
    return login if login.name or login.token else None


def basic_auth(login: Login) -> str:
    """Return the `Authorization` header of the Basic scheme."""
    pair = base64.b64encode(f"{login.name}:{login.password}".encode()).decode("ascii")
    return f"Basic {pair}"


def parse_challenge(text: str) -> tuple[str, Mapping[str, str]]:
    """Return the scheme of a `WWW-Authenticate` header and its parameters.

    `bearer` is preferred to `basic`; both results are empty for any other scheme.
    """
    marks = list(_SCHEME.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    schemes = {
        mark[1].lower(): dict(_PARAMETER.findall(text[mark.end() : end]))
        for mark, end in zip(marks, ends, strict=False)
    }
    for scheme in ("bearer", "basic"):
        if scheme in schemes:
            return scheme, schemes[scheme]
    return "", {}
