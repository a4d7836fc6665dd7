"""TCP ports of this machine's loopback address."""

import errno
import os
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_ANSWER_SECONDS: Final = 1.0


def is_free(port: int) -> bool:
    """Return whether this process can open a port."""
    return _bind_error(port) == 0


def is_taken(port: int) -> bool:
    """Return whether something has a port; an engine may open those below 1024, too."""
    return _bind_error(port) == errno.EADDRINUSE


def _bind_error(port: int) -> int:
    with socket.socket() as probe:
        if os.name == "posix":  # else a port that was closed is taken for another minute
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def answers(port: int, request: bytes = b"") -> bool:
    """Return whether a server answers; an engine's proxy opens its port before it is there."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS) as connection:
            connection.sendall(request)
            return bool(connection.recv(1))
    except OSError:
        return False
