"""JupyterLab's settings from variables and options, for the mode `jupyter`."""

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

COLAB = "https://colab.research.google.com"
PORT = "8888"
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
PART = r"(\d+(?:\.\d+)?)([smhd]?)"
Settings = dict[str, dict[str, object]]


class Plan(NamedTuple):
    """A command, its variables, lines for the user, and the idle time-out in seconds, or 0."""

    command: list[str]
    variables: dict[str, str]
    messages: list[str]
    idle: int


def plan(options: Sequence[str], environment: Mapping[str, str]) -> Plan:
    """Return how to start JupyterLab. Raises ValueError for invalid settings."""
    if shutil.which("jupyter-lab", path=environment.get("PATH")) is None:
        raise ValueError(
            "this image has no JupyterLab: take the same tag with `-workspace` at its end, or "
            "`pip install jupyterlab`"
        )
    is_colab = "--colab" in options
    idle = seconds(environment.get("DLIMG_IDLE", ""))
    variables = {}
    messages = [idle_message(idle, environment)]
    # Jupyter ignores blanks at the ends of what is typed, and files often end with a newline.
    token = environment.get("JUPYTER_TOKEN", "").strip()
    password = environment.get("JUPYTER_PASSWORD", "").strip()
    if token != environment.get("JUPYTER_TOKEN", ""):
        variables["JUPYTER_TOKEN"] = token
    settings = merged(
        {"ServerApp": {"port_retries": 0}},
        port_settings(environment),
        address_settings(environment),
        idle_settings(idle),
        password_settings(password) if token else {},
    )
    if password and not token:  # hosts put the password into addresses, as a token
        variables["JUPYTER_TOKEN"] = token = password
    if is_colab:
        token = token or secrets.token_hex(24)
        variables["JUPYTER_TOKEN"] = token
        settings = merged(settings, colab_settings())
        messages.append(colab_message(settings, options, environment, token))
    elif not token and is_behind_gateway(environment):
        settings = merged(settings, {"IdentityProvider": {"token": ""}})
        messages.append(
            "Kubeflow's gateway decides who may enter (NB_PREFIX, in a pod), and Jupyter asks for "
            "no token; JUPYTER_TOKEN sets one"
        )
    others = [option for option in options if option != "--colab"]
    variables["JUPYTER_CONFIG_PATH"] = f"{written(settings)}:" + environment.get(
        "JUPYTER_CONFIG_PATH", "/opt/env/etc/jupyter"
    )
    return Plan(["jupyter", "lab", *others], variables, messages, idle)


def merged(*parts: Mapping[str, Mapping[str, object]]) -> Settings:
    """Return the settings of all parts; later ones win."""
    settings: Settings = {}
    for part in parts:
        for name, values in part.items():
            settings.setdefault(name, {}).update(values)
    return settings


def port_settings(environment: Mapping[str, str]) -> Settings:
    """Return the port of PORT, which many hosts set; Jupyter reads JUPYTER_PORT itself."""
    for name in ("JUPYTER_PORT", "PORT"):
        port = environment.get(name, "")
        if not port:
            continue
        if not is_port(port):
            raise ValueError(f"{name}={port} is no port: a number up to 65535")
        return {"ServerApp": {"port": int(port)}}
    return {}


def is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16


def address_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings for a server behind a proxy, or under a path.

    NB_PREFIX is Kubeflow's, whose gateway changes the origin; JUPYTER_PUBLIC_URL is the address
    that browsers show, JUPYTER_BASE_URL only its path.
    """
    prefix, public = environment.get("NB_PREFIX", ""), environment.get("JUPYTER_PUBLIC_URL", "")
    server: dict[str, object] = {}
    path = environment.get("JUPYTER_BASE_URL", "")
    if prefix:
        server |= {"allow_origin": "*", "trust_xheaders": True}
        path = path or prefix
    if public:
        parts = urlsplit(public)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(
                f"JUPYTER_PUBLIC_URL={public} is no address: it begins with https:// or http://"
            )
        origin = f"{parts.scheme}://{parts.netloc}"
        server |= {"allow_origin": origin, "trust_xheaders": True, "custom_display_url": public}
        path = path or parts.path
    if re.search(r"[\s?#]", path):
        raise ValueError(f"{path} is no path for Jupyter's address: it has a blank, `?` or `#`")
    if path.strip("/"):
        server["base_url"] = f"/{path.strip('/')}/"
    return {"ServerApp": server}


def is_behind_gateway(environment: Mapping[str, str]) -> bool:
    """Return whether this is a notebook of Kubeflow: in a pod, under the path of its gateway."""
    return bool(environment.get("NB_PREFIX") and environment.get("KUBERNETES_SERVICE_HOST"))


def password_settings(password: str) -> Settings:
    """Return the settings for a password beside the token, as a salted hash."""
    if not password:
        return {}
    salt = secrets.token_hex(6)
    digest = hashlib.sha256(f"{password}{salt}".encode()).hexdigest()
    return {"PasswordIdentityProvider": {"hashed_password": f"sha256:{salt}:{digest}"}}


def idle_settings(idle: int) -> Settings:
    """Return the settings that end unused kernels, then the server; a busy kernel stays."""
    if not idle:
        return {}
    interval = max(1, min(60, idle // 4))
    return {
        "MappingKernelManager": {
            "cull_idle_timeout": idle,
            "cull_interval": interval,
            "cull_connected": True,
            "cull_busy": False,
        },
        "ServerApp": {"shutdown_no_activity_timeout": idle},
    }


def idle_message(idle: int, environment: Mapping[str, str]) -> str:
    if not idle:
        return "Jupyter stays until it is stopped; DLIMG_IDLE=2h would end it after 2 idle hours"
    given = environment["DLIMG_IDLE"]
    return f"Jupyter ends by itself after {given} in which no cell runs and nobody works in it"


def seconds(text: str) -> int:
    """Return the seconds of a time such as `2h`, `90m` or `1h30m`; 0 turns the time-out off."""
    if not text:
        return 0
    if not re.fullmatch(f"({PART})+", text.strip()):
        raise ValueError(f"DLIMG_IDLE={text} is no time: 2h, 90m or 1h30m, for instance")
    total = sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, text))
    return round(total)


def colab_settings() -> Settings:
    """Return the settings for a page of Colab, which takes this as its local runtime."""
    return {"ServerApp": {"allow_origin": COLAB, "allow_credentials": True, "port_retries": 0}}


def colab_message(
    settings: Settings, options: Sequence[str], environment: Mapping[str, str], token: str
) -> str:
    server = settings["ServerApp"]
    port = environment.get("JUPYTER_PORT") or server.get("port") or PORT
    for at, option in enumerate(options):
        name, _, value = option.partition("=")
        if name in ("--port", "--ServerApp.port"):
            port = value or "".join(options[at + 1 : at + 2])
    return (
        "in Colab choose `Connect to a local runtime`, and enter "
        f"http://localhost:{port}{server.get('base_url', '/')}?token={token}"
    )


def written(settings: Settings) -> Path:
    """Write the settings to a folder of their own, for this user alone, and return it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"dlimg-jupyter-{os.geteuid()}-"))
    except FileNotFoundError:
        raise ValueError(
            "Jupyter needs a folder for temporary files: start the container with `--tmpfs /tmp`"
        ) from None
    text = json.dumps(settings, indent=2, sort_keys=True)
    (folder / "jupyter_server_config.json").write_text(f"{text}\n")
    return folder
