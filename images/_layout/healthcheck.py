#!/usr/local/lib/dlimg/python -IS
"""Healthy, unless the Jupyter server that the entry point started does not answer.

Any other command, such as a training, is healthy as long as it runs. It imports few modules,
because it runs twice a minute.
"""

import json
import os
import socket
import sys

SECONDS = 5
SERVE = "/usr/local/lib/dlimg/serve"
ANY_ADDRESS = ("0.0.0.0", "::", "", "*")  # noqa: S104  # of a server that listens everywhere
SERVERS = {"lab", "notebook", "server", "nbclassic", "labhub", "singleuser"}


def read(path: str) -> str:
    with open(path, errors="replace") as file:  # pathlib takes longer than this
        return file.read()


def server() -> str:
    """Return the pid of the Jupyter server that is the entry point's process or a mode's."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if is_server(read(f"/proc/{process}/cmdline").split("\0")) and is_command(process):
                return process
        except OSError:
            continue  # it has ended
    return ""


def is_command(process: str) -> bool:
    """Return whether the entry point has become this process, or the mode that started it."""
    above = parent(process)
    if SERVE in read(f"/proc/{above}/cmdline").split("\0"):
        above = parent(above)
    return read(f"/proc/{above}/comm").strip() == "tini"


def parent(process: str) -> str:
    return read(f"/proc/{process}/stat").rpartition(")")[2].split()[1]


def is_server(words: list[str]) -> bool:
    """Return whether a command line is `jupyter lab`, `python .../jupyter-lab` or similar."""
    for at, word in enumerate(words[:3]):
        name = word.rpartition("/")[2]
        if name.startswith(("jupyter-", "jupyterhub-")):
            return name.partition("-")[2] in SERVERS
        if name == "jupyter":
            return not SERVERS.isdisjoint(words[at + 1 : at + 2])
    return False


def variables(process: str) -> dict[str, str]:
    """Return the environment of a process; empty for another user's, or an ended one."""
    try:
        texts = read(f"/proc/{process}/environ").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def described(process: str) -> dict[str, object]:
    """Return the server's own record, or its defaults where it has none."""
    environment = variables(process)
    share = environment.get("XDG_DATA_HOME") or f"{environment.get('HOME')}/.local/share"
    folder = environment.get("JUPYTER_DATA_DIR") or f"{share}/jupyter"
    folder = environment.get("JUPYTER_RUNTIME_DIR") or f"{folder}/runtime"
    try:
        return dict(json.loads(read(f"{folder}/jpserver-{process}.json")))
    except (OSError, ValueError):
        return {"port": environment.get("JUPYTER_PORT") or 8888}


def connection(about: dict[str, object]) -> socket.socket:
    if about.get("sock"):
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(SECONDS)
        opened.connect(str(about["sock"]))
        return opened
    host = str(about.get("hostname") or "")
    host = "localhost" if host in ANY_ADDRESS else host
    opened = socket.create_connection((host, int(str(about.get("port") or 0))), timeout=SECONDS)
    if about.get("secure"):
        import ssl

        # Nothing secret is sent, so the certificate does not matter.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        opened = tls.wrap_socket(opened)
    return opened


def status(about: dict[str, object]) -> int:
    """Return the HTTP status of the server's answer."""
    with connection(about) as opened:
        path = f"{about.get('base_url') or '/'}api"
        opened.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return int(opened.makefile("rb").readline().split()[1])


def main() -> None:
    process = server()
    if not process:
        return
    try:
        number = status(described(process))
    except (OSError, ValueError, IndexError) as error:
        sys.exit(f"Jupyter does not answer: {error}")
    if number >= 500:
        sys.exit(f"Jupyter answers with {number}")
    print(f"Jupyter answers with {number}")


main()
