"""TCP ports of this machine's loopback address."""

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a port can be opened; a closed one may need a minute until it can."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
