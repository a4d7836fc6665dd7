"""Modes with a server: ports on loopback, a new token, the user's public keys, addresses."""

import socket
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.run.modes import JUPYTER_PORT, addresses, mode_setup

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


def test_a_port_that_is_taken_is_left_to_the_engine(
    keyed: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr("dlimg.run.modes.JUPYTER_PORT", taken)
        assert mode_setup("jupyter", {}, keyed).ports[0].host == 0
    assert mode_setup("jupyter", {}, keyed).ports[0].host == taken


def test_addresses_are_those_of_this_machine() -> None:
    ports = {JUPYTER_PORT: 49153, 2222: 49154}
    hidden = {"JUPYTER_TOKEN": "abc"}
    assert list(addresses("both", ports, hidden, "user")) == [
        "Jupyter: http://127.0.0.1:49153/lab?token=abc",
        "ssh: ssh -p 49154 user@127.0.0.1",
    ]
    assert list(addresses("jupyter", ports, {}, "user")) == ["Jupyter: http://127.0.0.1:49153/lab"]
    assert list(addresses("command", ports, hidden, "user")) == []
    assert list(addresses("jupyter", {}, hidden, "user")) == []
