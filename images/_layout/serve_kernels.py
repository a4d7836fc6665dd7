"""Kernels of a running Jupyter server, as it tells of them."""

import json
import os
import re
import ssl
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 2
CONNECTION = re.compile(rb"kernel-([0-9a-f-]{36})\.json")


def idle(server: int) -> set[int]:
    """Return the pids of kernels that execute nothing; none where Jupyter does not answer."""
    try:
        kernels = ask(record(server), "api/kernels")
        states = {kernel["id"]: kernel["execution_state"] for kernel in kernels}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {pid for pid, kernel in identities().items() if states.get(kernel) == "idle"}


def record(server: int) -> dict[str, Any]:
    """Return what the server has written about itself: its address, and the token."""
    share = os.environ.get("XDG_DATA_HOME") or f"{os.environ.get('HOME')}/.local/share"
    data = os.environ.get("JUPYTER_DATA_DIR") or f"{share}/jupyter"
    runtime = Path(os.environ.get("JUPYTER_RUNTIME_DIR") or f"{data}/runtime")
    return dict(json.loads((runtime / f"jpserver-{server}.json").read_text()))


def ask(about: dict[str, Any], path: str) -> list[dict[str, str]]:
    scheme = "https" if about["secure"] else "http"
    address = f"{scheme}://localhost:{about['port']}{about['base_url']}{path}"
    headers = {"Authorization": f"token {about['token']}"}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  # of this container
    # The certificate is somebody's own, and the server this one's child.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(request, timeout=SECONDS) as answer:
        return list(json.load(answer))


def identities(root: Path = Path("/proc")) -> dict[int, str]:
    """Return the kernels' identifiers by pid; they are in the names of connection files."""
    kernels = {}
    for folder in root.iterdir():
        if folder.name.isdecimal():
            try:
                match = CONNECTION.search((folder / "cmdline").read_bytes())
            except OSError:
                continue
            if match:
                kernels[int(folder.name)] = match[1].decode()
    return kernels
