#!/usr/local/lib/dlimg/python -IS
"""Healthy, unless the Jupyter server that the entry point started does not answer.

Any other command, such as a training, is healthy as long as it runs.
"""

import http.client
import json
import socket
import ssl
import sys
from pathlib import Path

SECONDS = 5
ANY_ADDRESS = ("0.0.0.0", "::", "", "*")  # noqa: S104  # what it may say it listens on
SERVERS = {"lab", "notebook", "server", "nbclassic", "labhub", "singleuser"}


def server() -> Path | None:
    """The process in /proc that the entry point became, where that is a Jupyter server."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text()
            words = (process / "cmdline").read_text().split("\0")
            parent = stat.rpartition(")")[2].split()[1]
            starter = Path("/proc", parent, "comm").read_text().strip()
        except (OSError, ValueError):
            continue  # it has ended
        if starter == "tini" and is_server(words):
            return process
    return None


def is_server(words: list[str]) -> bool:
    """Whether a command line is `jupyter lab`, `python .../jupyter-lab` or one of its kin."""
    for at, word in enumerate(words[:3]):
        name = Path(word).name
        if name.startswith(("jupyter-", "jupyterhub-")):
            return name.partition("-")[2] in SERVERS
        if name == "jupyter":
            return SERVERS.intersection(words[at + 1 : at + 2]) != set()
    return False


def variables(process: Path) -> dict[str, str]:
    """The environment of a process; nothing where it is another user's, or has ended."""
    try:
        texts = (process / "environ").read_text(errors="replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def described(process: Path, environment: dict[str, str]) -> dict:
    """What the server has written down of itself; where it has not, what it is told by default."""
    share = Path(environment.get("HOME") or "/", ".local/share")
    data = environment.get("JUPYTER_DATA_DIR") or f"{share}/jupyter"
    runtime = environment.get("JUPYTER_RUNTIME_DIR") or f"{data}/runtime"
    try:
        return json.loads(Path(runtime, f"jpserver-{process.name}.json").read_text())
    except (OSError, ValueError):
        return {"port": environment.get("JUPYTER_PORT") or 8888}


def connection(about: dict) -> http.client.HTTPConnection:
    host, port = about.get("hostname") or "localhost", int(about.get("port") or 0)
    host = "localhost" if host in ANY_ADDRESS else host
    if about.get("sock"):
        opened = http.client.HTTPConnection("localhost", timeout=SECONDS)
        opened.sock = socket.socket(socket.AF_UNIX)
        opened.sock.settimeout(SECONDS)
        opened.sock.connect(about["sock"])
        return opened
    if about.get("secure"):
        # It is asked whether it answers, and nothing is told it.
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=trusting)
    return http.client.HTTPConnection(host, port, timeout=SECONDS)


def main() -> None:
    process = server()
    if process is None:
        return
    about = described(process, variables(process))
    try:
        asking = connection(about)
        asking.request("GET", f"{about.get('base_url') or '/'}api")
        status = asking.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"Jupyter does not answer: {error}")
    if status >= 500:
        sys.exit(f"Jupyter answers with {status}")
    print(f"Jupyter answers with {status}")


main()
