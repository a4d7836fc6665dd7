"""How `docker` and buildx find the private engine, its plugins and the user's logins.

A home and the user's environment come in; another environment, and a settings file in the
home, come out. The user's own files are read and never written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dlimg.engine.address import read_settings
from dlimg.engine.home import PLUGINS, Home
from dlimg.whole import write_whole

_KEPT: Final = ("auths", "credHelpers", "credsStore", "HttpHeaders", "proxies")


def client_environment(home: Home, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment that leads `docker` and buildx to this engine and its own plugins."""
    dropped = {
        "DOCKER_CONTEXT",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "DOCKER_API_VERSION",
        "BUILDX_BUILDER",
        "BUILDX_CONFIG",
    }
    kept = {name: value for name, value in environment.items() if name not in dropped}
    return {**kept, "DOCKER_HOST": home.host, "DOCKER_CONFIG": str(home.client_config)}


def write_client_config(home: Home, users: Path) -> None:
    """Write the client's settings: our plugins, and the user's registry logins for pushes.

    Raises `BadInput` when the user's own settings are no JSON object.
    """
    theirs = read_settings(users)
    file = home.client_config / "config.json"
    settings = {name: theirs[name] for name in _KEPT if name in theirs}
    settings["cliPluginsExtraDirs"] = [str(home.root / PLUGINS)]
    text = json.dumps(settings, indent=2) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    home.client_config.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Logins are secrets: the new file is the owner's alone from its first moment.
    write_whole(file, text, mode=0o600)
