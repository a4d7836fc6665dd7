"""Ports of the loopback address."""

import socket

from dlimg.host.ports import free_port, is_free


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
    assert is_free(free_port())
