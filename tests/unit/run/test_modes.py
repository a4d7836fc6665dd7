"""Modes with a server: ports on loopback, a new token, the user's public keys, addresses."""

import socket
from pathlib import Path
from threading import Thread

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.ports import free_port
from dlimg.run.model import PortMapping
from dlimg.run.modes import jupyter_address, mode_setup, ports_here, servers_answer

KEY = "ssh-ed25519 AAAA me"


@pytest.fixture
def keyed(tmp_path: Path) -> Context:
    """A user with a public key, and no agent."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text(f"{KEY}\n")
    return Context.of({"HOME": str(tmp_path), "PATH": "/nowhere"}, print)


def test_a_command_needs_nothing_more(keyed: Context) -> None:
    setup = mode_setup("command", {}, keyed)
    assert (setup.ports, setup.variables, setup.hidden) == ((), {}, {})


def test_jupyter_has_a_port_on_loopback_and_a_new_token_each_time(keyed: Context) -> None:
    first, second = (mode_setup("jupyter", {}, keyed) for _ in range(2))
    assert [(port.container, port.address) for port in first.ports] == [(8888, "127.0.0.1")]
    assert first.variables == {}
    assert len(first.hidden["JUPYTER_TOKEN"]) == 48
    assert first.hidden != second.hidden
    assert first.hidden["JUPYTER_TOKEN"] not in repr(first)


def test_a_token_of_the_user_stays(keyed: Context) -> None:
    assert mode_setup("jupyter", {"JUPYTER_TOKEN": "mine"}, keyed).hidden == {}


def test_ssh_takes_the_public_keys_of_the_user(keyed: Context) -> None:
    setup = mode_setup("both", {}, keyed)
    assert setup.variables == {"SSH_PORT": "2222", "PUBLIC_KEY": KEY}
    assert [port.container for port in setup.ports] == [8888, 2222]
    assert "PUBLIC_KEY" not in mode_setup("ssh", {"PUBLIC_KEY": "other"}, keyed).variables


def test_ssh_without_any_key_is_refused(tmp_path: Path) -> None:
    context = Context.of({"HOME": str(tmp_path), "PATH": "/nowhere"}, print)
    with pytest.raises(BadInput, match="there is no public key") as error:
        mode_setup("ssh", {}, context)
    assert "ssh-keygen" in error.value.problems[0].hint


def test_a_port_is_the_same_here_if_it_is_free_and_any_other_if_it_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert [port.host for port in ports_here([PortMapping(container=taken)])] == [0]
        with pytest.raises(BadInput, match=f"port {taken} is taken") as error:
            list(ports_here([PortMapping(container=80, host=taken)]))
        assert "--port OTHER:80" in error.value.problems[0].hint
    assert [port.host for port in ports_here([PortMapping(container=taken)])] == [taken]


def test_ports_of_the_user_come_before_those_of_a_mode() -> None:
    mode, free = PortMapping(container=8888), free_port()
    other = PortMapping(container=22, host=free)
    same = PortMapping(container=8888, host=free)
    assert list(ports_here([mode, same])) == [same]
    assert len(list(ports_here([mode, mode]))) == 1
    assert [port.host for port in ports_here([PortMapping(container=free), other])] == [0, free]


def greet(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        connection.sendall(b"SSH-2.0-x")


def test_a_server_answers_once_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = {2222: server.getsockname()[1]}
        monkeypatch.setattr("dlimg.host.ports._ANSWER_SECONDS", 0.1)
        assert not servers_answer("ssh", ports)
        server.accept()[0].close()
        monkeypatch.setattr("dlimg.host.ports._ANSWER_SECONDS", 10.0)
        speaker = Thread(target=greet, args=(server,))
        speaker.start()
        assert servers_answer("ssh", ports)
        speaker.join()
        assert servers_answer("command", ports)
    assert not servers_answer("both", ports)


def test_the_address_of_jupyter_has_its_token() -> None:
    assert jupyter_address(49153, {"JUPYTER_TOKEN": "abc"}) == (
        "Jupyter: http://127.0.0.1:49153/lab?token=abc"
    )
    assert jupyter_address(49153, {}) == "Jupyter: http://127.0.0.1:49153/lab"
