"""The engine that is used, and the error when there is none."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import urllib3

from dlimg.context import Context
from dlimg.engine import client
from dlimg.engine.client import Engine
from dlimg.engine.discover import EngineProbe, PrivateEnginePolicy, find_engine
from dlimg.engine.docker_address import EngineAddress, named_address
from dlimg.engine.private_engine import write_client_config
from dlimg.engine.private_home import PrivateHome
from dlimg.errors import BadInput, NoEngine

OWN = "unix:///var/lib/dlimg/engine/run/docker.sock"
USUAL = "unix:///var/run/docker.sock"


def an_engine(host: str, environment: Mapping[str, str], *, private: bool = False) -> Engine:
    return Engine(
        host=host,
        private=private,
        version="28.5.2",
        docker=Path("docker"),
        context=Context.of(environment, print),
        root="",
        sdk=docker.DockerClient.__new__(docker.DockerClient),
    )


def a_probe(*answering: str, own: int = 0, obstacle: str = "") -> EngineProbe:
    """A probe of engines at these addresses and of a private one with this pid."""

    def unreachable_reason(context: Context) -> str:
        return "" if context.environment["DOCKER_HOST"] in answering else "Connection refused"

    def join(home: PrivateHome, context: Context) -> Engine:
        return an_engine(f"joined {home.host}", context.environment, private=True)

    def up(home: PrivateHome, context: Context) -> Engine:
        context.log("up")
        return an_engine(f"started {home.host}", context.environment, private=True)

    return EngineProbe(
        unreachable_reason=unreachable_reason,
        connect=lambda address: an_engine(address.host, address.context.environment),
        running_pid=lambda _home: own,
        unsupported_reason=lambda: obstacle,
        join=join,
        up=up,
    )


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    """A user's docker folder with the contexts `plain` and `secure`, `plain` is selected."""
    endpoints: dict[str, dict[str, Any]] = {
        "plain": {"Host": "unix:///run/user/1000/docker.sock"},
        "secure": {"Host": "tcp://far.example:2376", "SkipTLSVerify": False},
        "trusting": {"Host": "tcp://far.example:2376", "SkipTLSVerify": True},
    }
    for name, endpoint in endpoints.items():
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = tmp_path / "contexts/meta" / digest / "meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
        if name != "plain":
            (tmp_path / "contexts/tls" / digest / "docker").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "plain"}))
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "probe", "host"),
    [
        ({"DOCKER_HOST": "tcp://a:1"}, a_probe("tcp://a:1", USUAL), "tcp://a:1"),
        ({}, a_probe(USUAL, own=7), USUAL),
        ({"DOCKER_CONTEXT": "default"}, a_probe(USUAL), USUAL),
        ({}, a_probe(own=7), f"joined {OWN}"),
        ({}, a_probe(), f"started {OWN}"),
        ({"DOCKER_HOST": OWN}, a_probe(USUAL, OWN, own=7), f"joined {OWN}"),
        ({"DOCKER_HOST": OWN}, a_probe(USUAL), f"started {OWN}"),
        ({"DLIMG_ENGINE_HOME": "/e"}, a_probe(), "started unix:///e/run/docker.sock"),
    ],
)
def test_engines_are_looked_for_in_order(
    environment: dict[str, str], probe: EngineProbe, host: str, tmp_path: Path
) -> None:
    engine = find_engine(
        Context.of({"HOME": str(tmp_path), **environment}, lambda _: None),
        private="allow",
        probe=probe,
    )
    assert engine.host == host
    assert engine.private == (host.startswith(("joined", "started")))


@pytest.mark.parametrize(
    ("environment", "allowed", "probe", "message", "hint"),
    [
        ({"DOCKER_HOST": "tcp://a:1"}, "allow", a_probe(USUAL), "DOCKER_HOST names", "unset"),
        ({}, "refuse", a_probe(), "the options forbid a private one", "install Docker Engine 24"),
        ({}, "join", a_probe(), "this command starts none", "dlimg engine purge"),
        (
            {"DOCKER_HOST": OWN},
            "join",
            a_probe(USUAL),
            "this command starts none",
            "dlimg engine up",
        ),
        ({}, "allow", a_probe(obstacle="it needs root"), "it needs root", "install Docker"),
    ],
)
def test_without_an_engine_the_error_says_what_to_do(
    environment: dict[str, str],
    allowed: PrivateEnginePolicy,
    probe: EngineProbe,
    message: str,
    hint: str,
    tmp_path: Path,
) -> None:
    environment = {"HOME": str(tmp_path), **environment}
    with pytest.raises(NoEngine, match=message) as caught:
        find_engine(Context.of(environment, lambda _: None), private=allowed, probe=probe)
    assert hint in caught.value.problems[0].hint


def test_joining_starts_nothing_and_finds_what_runs(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    for probe, host in ((a_probe(USUAL), USUAL), (a_probe(own=7), f"joined {OWN}")):
        assert (
            find_engine(Context.of(home, lambda _: None), private="join", probe=probe).host == host
        )


def test_it_says_that_its_own_engine_stays_up_and_how_to_stop_it(tmp_path: Path) -> None:
    messages: list[str] = []
    find_engine(
        Context.of({"HOME": str(tmp_path)}, messages.append), private="refuse", probe=a_probe(own=7)
    )
    assert messages == [
        "using dlimg's private engine, which stays up; `dlimg engine down` stops it"
    ]


@pytest.mark.parametrize(
    ("environment", "host", "leading"),
    [
        ({}, "unix:///run/user/1000/docker.sock", {}),
        ({"DOCKER_CONTEXT": "secure"}, "tcp://far.example:2376", {"DOCKER_TLS_VERIFY": "1"}),
        ({"DOCKER_CONTEXT": "trusting"}, "tcp://far.example:2376", {"DOCKER_TLS": "1"}),
        ({"DOCKER_CONTEXT": "secure", "DOCKER_HOST": "tcp://b:2"}, "tcp://b:2", {}),
    ],
)
def test_docker_contexts_are_read(
    environment: dict[str, str], host: str, leading: dict[str, str], contexts: Path
) -> None:
    address = named_address(Context.of({"DOCKER_CONFIG": str(contexts), **environment}, print))
    assert isinstance(address, EngineAddress)
    variables = address.context.environment
    assert address.host == variables["DOCKER_HOST"] == host
    tls = {name: v for name, v in variables.items() if name.startswith("DOCKER_TLS")}
    assert tls == leading
    assert bool(leading) == ("DOCKER_CERT_PATH" in variables)


def test_the_chosen_context_wins_over_a_private_engine(contexts: Path) -> None:
    engine = find_engine(
        Context.of({"DOCKER_CONFIG": str(contexts)}, print),
        private="allow",
        probe=a_probe("unix:///run/user/1000/docker.sock", USUAL, own=7),
    )
    assert engine.host == "unix:///run/user/1000/docker.sock"
    assert "DOCKER_CONTEXT" not in engine.environment


def test_a_context_that_is_not_there(contexts: Path) -> None:
    with pytest.raises(BadInput, match="there is no docker context 'gone'"):
        named_address(Context.of({"DOCKER_CONFIG": str(contexts), "DOCKER_CONTEXT": "gone"}, print))


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", '"x"', "\udcff", pytest.param("[" * 100_000, id="deep")]
)
def test_settings_that_are_no_json_object(tmp_path: Path, text: str) -> None:
    users = tmp_path / "config.json"
    users.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=r"not (JSON|a JSON object)") as caught:
        named_address(Context.of({"DOCKER_CONFIG": str(tmp_path)}, print))
    assert caught.value.problems[0].where == str(users)
    with pytest.raises(BadInput, match=r"not (JSON|a JSON object)"):
        write_client_config(PrivateHome(path=tmp_path / "home"), users)


def test_the_users_logins_are_taken_over_and_an_empty_file_has_none(tmp_path: Path) -> None:
    users = tmp_path / "config.json"
    home = PrivateHome(path=tmp_path / "home")
    for text, stored in (("\n", None), ('{"auths": {"r": {}}, "currentContext": "x"}', {"r": {}})):
        users.write_text(text)
        write_client_config(home, users)
        written = json.loads((home.client_config / "config.json").read_text())
        assert (written.get("auths"), "currentContext" in written) == (stored, False)


@pytest.mark.parametrize("endpoints", [[], {"docker": []}, {"docker": {"Host": 7}}, None, {}])
def test_a_context_whose_settings_are_odd_is_not_there(contexts: Path, endpoints: object) -> None:
    digest = hashlib.sha256(b"plain").hexdigest()
    meta = contexts / "contexts/meta" / digest / "meta.json"
    meta.write_text(json.dumps({"Endpoints": endpoints}))
    with pytest.raises(BadInput, match="there is no docker context 'plain'"):
        named_address(Context.of({"DOCKER_CONFIG": str(contexts)}, print))


@pytest.mark.parametrize(
    ("api", "components", "message"),
    [
        ("1.51", ["Engine"], ""),
        ("1.43", ["Engine"], ""),
        ("1.42", ["Engine"], "docker 1.2.3 at here is too old: version 24 is needed"),
        ("", [], "too old"),
        ("1.44", ["Podman Engine"], "podman answers at here"),
    ],
)
def test_engines_that_are_accepted(api: str, components: list[str], message: str) -> None:
    version = {
        "Version": "1.2.3",
        "ApiVersion": api,
        "Components": [{"Name": name} for name in components],
    }
    if not message:
        client.check_engine(version, "here")
        return
    with pytest.raises(NoEngine, match=message):
        client.check_engine(version, "here")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", ""),
        ("echo github.com/docker/buildx v0.13.0 abc", ""),
        ("echo github.com/docker/buildx v0.12.1 abc", r"too old \(0.12.1\): version 0.13"),
        ("echo github.com/docker/buildx unknown", r"too old \(unknown\)"),
        ("echo unknown command: docker buildx >&2; exit 1", "has no buildx plugin"),
    ],
)
def test_buildx_that_is_accepted(script: str, message: str, tmp_path: Path) -> None:
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    engine = replace(an_engine("unix:///x", {"PATH": "/bin"}), docker=command)
    if not message:
        client.check_buildx(engine)
        return
    with pytest.raises(NoEngine, match=message):
        client.check_buildx(engine)


def test_no_docker_command() -> None:
    with pytest.raises(NoEngine, match="no `docker` command"):
        client.connect(
            "unix:///nowhere",
            private=False,
            command=client.docker_command(Context.of({"PATH": "/nowhere"}, print)),
            context=Context.of({}, print),
        )


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "Invalid bind address protocol: nonsense://x"),
    ],
)
def test_why_nothing_answers_is_said_plainly(host: str, why: str) -> None:
    assert client.unreachable_reason(Context.of({"DOCKER_HOST": host}, print)) == why


def test_ssh_without_its_library_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    environment = {"HOME": str(tmp_path), "DOCKER_HOST": "ssh://user@far"}
    with pytest.raises(NoEngine, match="ssh://user@far is reached over ssh") as caught:
        find_engine(Context.of(environment, print), private="allow")
    assert "ssh -nNT -L" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (docker.errors.APIError("500", explanation="disk is on fire"), "disk is on fire"),
        (docker.errors.DockerException("strange"), "strange"),
        (docker.errors.ImageNotFound("gone"), "gone"),
        (requests.exceptions.ConnectionError(ConnectionRefusedError(111, "x")), "refused"),
        (requests.exceptions.ReadTimeout("timed out"), "timed out"),
        (urllib3.exceptions.ProtocolError("Connection broken"), "Connection broken"),
        (ConnectionResetError(104, "x"), "reset by peer"),
    ],
)
def test_an_engine_that_is_lost_is_no_engine(error: Exception, why: str) -> None:
    @client.engine_errors()
    def work() -> None:
        raise error

    for _ in range(2):
        with pytest.raises(NoEngine, match=why) as caught:
            work()
        assert caught.value.exit_code == 4


@pytest.mark.parametrize("error", [PermissionError(13, "x"), BadInput("x"), BrokenPipeError()])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)), client.engine_errors():
        raise error


def test_free_space_is_known_for_local_engines_only(tmp_path: Path) -> None:
    def engine(host: str, root: str) -> Engine:
        template = an_engine(host, {})
        return Engine(
            host=template.host,
            private=False,
            version="",
            docker=template.docker,
            context=Context.of({}, print),
            root=root,
            sdk=template.sdk,
        )

    assert (client.free_bytes(engine("unix:///x", str(tmp_path))) or 0) > 0
    assert client.free_bytes(engine("unix:///x", str(tmp_path / "gone"))) is None
    assert client.free_bytes(engine("tcp://far:1", str(tmp_path))) is None
