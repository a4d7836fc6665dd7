"""Ports of the loopback address."""

import errno
import socket

import pytest

from dlimg.host.ports import free_port, is_free, is_taken


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (is_free(port), is_taken(port)) == (False, True)
    assert is_free(free_port())


def test_a_port_that_this_user_may_not_open_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, _address: tuple[str, int]) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    refusing = type("Refusing", (socket.socket,), {"bind": refuse})
    monkeypatch.setattr("dlimg.host.ports.socket.socket", refusing)
    assert (is_free(80), is_taken(80)) == (False, False)
