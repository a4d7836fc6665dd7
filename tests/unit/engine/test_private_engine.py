"""The private engine's parts that need no engine: its home, network, settings and lock."""

import json
import os
import threading
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.debian import packages
from dlimg.engine import network, private_engine, private_home
from dlimg.engine.network import BridgeNetwork
from dlimg.engine.private_home import PrivateHome
from dlimg.errors import NoEngine
from dlimg.host import process
from dlimg.host.file_lock import file_lock
from dlimg.host.process import ProcessResult

NET = BridgeNetwork(bridge="dlimg0", addresses=IPv4Network("172.31.192.0/20"))


class FakeMachine:
    """A host with links, addresses and iptables rules, changed by command lines."""

    def __init__(self, *, filters: Sequence[str] = ("iptables",)) -> None:
        self.filters = filters
        self.links: set[str] = {"eth0"}
        self.rules: list[tuple[str, ...]] = []
        self.routes: list[dict[str, str]] = []

    def __call__(self, argv: Sequence[str]) -> ProcessResult:
        ok = self._ip(argv) if argv[0] == "ip" else self._iptables(argv)
        return ProcessResult(
            argv=tuple(argv),
            returncode=0 if ok else 1,
            stdout=json.dumps(self.routes),
            stderr="",
        )

    def _ip(self, argv: Sequence[str]) -> bool:
        match argv[1:]:
            case ["link", "show", "dev", name]:
                return name in self.links
            case ["link", "add", "name", name, *_]:
                self.links.add(name)
            case ["link", "delete", "dev", name]:
                self.links.discard(name)
            case _:
                pass
        return True

    def _iptables(self, argv: Sequence[str]) -> bool:
        program, _, _, table, verb, chain, *rule = argv
        key = (table, chain, *rule)
        match verb:
            case _ if program not in self.filters:
                return False
            case "-C":
                return key in self.rules
            case "-I":
                self.rules.append(key)
            case "-D":
                result = key in self.rules
                if result:
                    self.rules.remove(key)
                return result
            case _:
                return True
        return True


@pytest.fixture(autouse=True)
def forwarding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ip_forward"
    file.write_text("0\n")
    monkeypatch.setattr(network, "FORWARDING", file)
    return file


@pytest.mark.parametrize("filters", [("iptables",), ("iptables-nft",), ("iptables-legacy",)])
def test_a_network_comes_once_and_goes_whole(filters: Sequence[str], forwarding: Path) -> None:
    machine = FakeMachine(filters=filters)
    network.create_network(NET, machine)
    network.create_network(NET, machine)
    assert "dlimg0" in machine.links
    assert [rule[:2] for rule in machine.rules] == [
        ("filter", "FORWARD"),
        ("filter", "FORWARD"),
        ("nat", "POSTROUTING"),
    ]
    assert all("dlimg:dlimg0" in rule for rule in machine.rules)
    assert forwarding.read_text() == "1\n"
    network.remove_network(NET, machine)
    assert (machine.links, machine.rules) == ({"eth0"}, [])


def test_a_network_that_cannot_be_made() -> None:
    with pytest.raises(NoEngine, match="network could not be created"):
        network.create_network(NET, FakeMachine(filters=()))


@pytest.mark.parametrize(
    ("taken", "preferred", "addresses"),
    [
        ([], "", "172.31.192.0/20"),
        (["192.168.0.0/16", "172.31.200.0/24"], "", "172.31.208.0/20"),
        ([], "172.31.224.0/20", "172.31.224.0/20"),
        (["172.31.224.0/24"], "172.31.224.0/20", "172.31.192.0/20"),
        (["172.16.0.0/12"], "", "10.213.192.0/20"),
    ],
)
def test_the_network_that_is_chosen(taken: list[str], preferred: str, addresses: str) -> None:
    chosen = network.choose_network("dlimg0", map(IPv4Network, taken), preferred)
    assert str(chosen.addresses) == addresses
    assert str(chosen.pool.supernet()) == addresses
    assert not chosen.pool.overlaps(IPv4Network(chosen.gateway, strict=False))


def test_no_network_is_left() -> None:
    with pytest.raises(NoEngine, match="are in use"):
        network.choose_network("dlimg0", map(IPv4Network, ["172.16.0.0/12", "10.0.0.0/8"]), "")


def test_routes_of_the_engines_own_bridge_do_not_count() -> None:
    machine = FakeMachine()
    machine.routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.0.2.0/24", "dev": "eth0"},
        {"dst": "192.0.2.7", "dev": "eth0"},
        {"dst": "172.31.192.0/24", "dev": "dlimg0"},
    ]
    assert network.routed_networks(machine, "dlimg0") == (
        IPv4Network("192.0.2.0/24"),
        IPv4Network("192.0.2.7/32"),
    )


def test_the_network_is_remembered(tmp_path: Path) -> None:
    assert network.load_network(tmp_path / "n.json") is None
    network.save_network(NET, tmp_path / "n.json")
    assert network.load_network(tmp_path / "n.json") == NET


def test_each_home_has_a_bridge_of_its_own() -> None:
    usual = private_home.home_of(Context.of({}, print))
    other = private_home.home_of(Context.of({"DLIMG_ENGINE_HOME": "/srv/other"}, print))
    assert (usual.path, usual.bridge) == (Path("/var/lib/dlimg/engine"), "dlimg0")
    assert usual.host == "unix:///var/lib/dlimg/engine/run/docker.sock"
    assert other.bridge != usual.bridge
    assert len(other.bridge) <= 15
    assert other.path not in other.lock.parents


def test_a_home_too_long_for_its_sockets() -> None:
    with pytest.raises(NoEngine, match="too long for the sockets"):
        private_home.home_of(Context.of({"DLIMG_ENGINE_HOME": f"/srv/{'x' * 90}"}, print))


@pytest.mark.parametrize(
    ("vendor", "own", "suites"),
    [
        ("debian", "bookworm", ("forky", "trixie", "bookworm")),
        ("debian", "trixie", ("forky", "trixie")),
        ("debian", "forky", ("forky", "trixie")),
        ("ubuntu", "noble", ("noble",)),
    ],
)
def test_suites_that_are_tried(vendor: str, own: str, suites: tuple[str, ...]) -> None:
    assert private_home.candidate_suites(vendor, own) == suites


def test_daemon_settings() -> None:
    plain = private_home.daemon_settings("172.31.200.0/21", cdi=(), nvidia=None)
    assert plain["features"] == {"containerd-snapshotter": True, "cdi": True}
    assert plain["default-address-pools"] == [{"base": "172.31.200.0/21", "size": 24}]
    assert plain.keys().isdisjoint({"runtimes", "cdi-spec-dirs"})
    more = private_home.daemon_settings("172.31.200.0/21", cdi=[Path("/c")], nvidia="/usr/bin/n")
    assert more["cdi-spec-dirs"] == ["/c"]
    assert more["runtimes"] == {"nvidia": {"path": "/usr/bin/n"}}


def test_the_daemon_leaves_the_packet_filter_alone() -> None:
    argv = private_home.daemon_argv(PrivateHome(path=Path("/e")), "dlimg0")
    assert argv[0] == "/e/root/usr/sbin/dockerd"
    assert {"--iptables=false", "--ip6tables=false"} <= set(argv)
    assert argv[argv.index("--bridge") + 1] == "dlimg0"


def test_the_client_leads_to_the_private_engine_alone() -> None:
    variables = {"DOCKER_CONTEXT": "far", "DOCKER_TLS_VERIFY": "1", "BUILDX_BUILDER": "b"}
    home = PrivateHome(path=Path("/e"))
    context = private_engine.client_context(home, Context.of({"PATH": "/bin", **variables}, print))
    assert context.environment == {
        "PATH": "/bin",
        "DOCKER_HOST": "unix:///e/run/docker.sock",
        "DOCKER_CONFIG": "/e/config",
    }


def test_the_users_logins_come_along_and_stay_secret(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps({"auths": {"r.example": {"auth": "x"}}, "currentContext": "far"}))
    ours = PrivateHome(path=tmp_path / "e")
    private_engine.write_client_config(ours, theirs)
    file = ours.client_config / "config.json"
    assert json.loads(file.read_text()) == {
        "auths": {"r.example": {"auth": "x"}},
        "cliPluginsExtraDirs": [str(ours.root / "usr/libexec/docker/cli-plugins")],
    }
    assert file.stat().st_mode & 0o077 == 0
    before = file.stat().st_ino
    private_engine.write_client_config(ours, file)  # as when DOCKER_CONFIG names it
    assert (file.stat().st_ino, list(ours.client_config.iterdir())) == (before, [file])


def test_a_process_id_left_by_a_reboot_is_not_the_engine(tmp_path: Path) -> None:
    ours = PrivateHome(path=tmp_path)
    assert private_engine.running_pid(ours) == 0
    ours.runtime.mkdir()
    for text in ("", "nonsense", str(2**22 + 1), str(os.getpid())):
        ours.pid_file.write_text(text)
        assert private_engine.running_pid(ours) == 0


def test_the_engine_is_known_by_its_own_settings_file(tmp_path: Path) -> None:
    ours = PrivateHome(path=tmp_path)
    ours.runtime.mkdir()
    argv = ["sh", "-c", "sleep 60; :", "--config-file", str(ours.daemon_config)]
    pid = process.start_daemon(argv, log=tmp_path / "log", env=dict(os.environ))
    try:
        ours.pid_file.write_text(f"{pid}\n")
        assert process.wait_until(lambda: private_engine.running_pid(ours) == pid, 30)
    finally:
        process.end_process(pid, patience=1)
    assert private_engine.running_pid(ours) == 0


def test_the_status_of_an_engine_that_was_never_there(tmp_path: Path) -> None:
    status = private_engine.status(PrivateHome(path=tmp_path / "none"), Context.of({}, print))
    assert (status.running, status.host, status.pid, status.packages) == (False, "", 0, ())
    assert not (tmp_path / "none").exists()


def test_down_without_an_engine_makes_nothing(tmp_path: Path) -> None:
    messages: list[str] = []
    private_engine.down(PrivateHome(path=tmp_path / "none"), log=messages.append)
    assert messages == ["dlimg has no private engine here"]
    assert list(tmp_path.glob("none*")) == []


def test_a_folder_is_filled_whole_or_not_at_all(tmp_path: Path) -> None:
    root = tmp_path / "root"

    def half(fresh: Path) -> None:
        (fresh / "a").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packages.replace_folder(root, half)
    assert not root.exists()
    packages.replace_folder(root, lambda fresh: (fresh / "a").mkdir())
    with pytest.raises(KeyboardInterrupt):
        packages.replace_folder(root, half)
    assert (root / "a").is_dir()
    (tmp_path / "root.new-killed").mkdir()
    packages.replace_folder(root, lambda fresh: (fresh / "b").mkdir())
    assert [path.name for path in root.iterdir()] == ["b"]
    assert [path for path in tmp_path.glob("root*") if path != root] == []


def test_two_processes_take_turns_with_a_lock(tmp_path: Path) -> None:
    messages: list[str] = []
    order: list[str] = []
    lock = tmp_path / "x.lock"

    def second() -> None:
        with file_lock(lock, doing="busy", log=messages.append):
            order.append("second")

    with file_lock(lock, doing="busy", log=messages.append):
        other = threading.Thread(target=second)
        other.start()
        assert process.wait_until(lambda: bool(messages), 30)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert messages == ["waiting for another dlimg that is busy"]


def test_a_machine_without_apt_sources_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=fedora\nVERSION_CODENAME=\n")
    with pytest.raises(NoEngine, match="no apt source for this host's own release"):
        packages.read_apt_host(tmp_path)


def test_a_machine_with_both_kinds_of_sources(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    folder = tmp_path / "apt/sources.list.d"
    folder.mkdir(parents=True)
    (tmp_path / "apt/sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (folder / "b.sources").write_text(
        "Types: deb\nURIs: http://b.example/debian-security\nSuites: bookworm-security\n"
        "Components: main\n"
    )
    (folder / "c.sources.off").write_text("deb http://c.example/debian bookworm main\n")
    machine = packages.read_apt_host(tmp_path)
    assert [source.uris for source in machine.own] == [
        "http://a.example/debian",
        "http://b.example/debian-security",
    ]


def test_mounts_below_a_folder(tmp_path: Path) -> None:
    assert process.mounts_under(tmp_path) == ()
    assert Path("/proc") in process.mounts_under(Path("/"))
