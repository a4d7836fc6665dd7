"""The user's name at a registry: from docker's own settings and their credential helpers."""

import binascii
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from docker.auth import load_config
from docker.errors import DockerException

from dlimg.engine.docker_address import docker_folder, read_settings
from dlimg.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A name with its password, or an identity token in place of both."""

    name: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def login_for(host: str, environment: Mapping[str, str]) -> Login | None:
    """What `docker login` has left for this registry; nothing where nobody has logged in.

    Raises `BadInput` for settings that cannot be read, or a helper that does not work.
    """
    file = docker_folder(environment) / "config.json"
    settings = dict(read_settings(file))
    kept = {
        name: settings[name]
        for name in ("auths", "credHelpers", "credsStore")
        if settings.get(name)
    }
    if not kept:
        return None
    try:
        with warnings.catch_warnings():
            # A helper that is not there is an error below; the library warns of it besides.
            warnings.simplefilter("ignore")
            found = load_config(
                config_dict=kept, credstore_env=dict(environment)
            ).resolve_authconfig(host)
    except (DockerException, binascii.Error, ValueError, TypeError) as error:
        raise BadInput(
            f"the login for {host} cannot be read: {error}",
            where=str(file),
            hint=f"`docker login {host}` writes it anew; mend `credsStore` if its helper is gone",
        ) from error
    texts = {name.lower(): str(text) for name, text in (found or {}).items() if text}
    login = Login(
        name=texts.get("username", ""),
        password=texts.get("password", ""),
        token=texts.get("identitytoken", ""),
    )
    return login if login.name or login.token else None
