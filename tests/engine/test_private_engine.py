"""A second private engine beside a running one: neither disturbs the other."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlimg.builders.disk_space import prune_engine
from dlimg.builders.loopback_registry import serve_image
from dlimg.context import Context
from dlimg.engine import bases, client, gpu, network, private_engine
from dlimg.engine.client import Engine
from dlimg.engine.discover import find_engine
from dlimg.engine.private_home import PrivateHome, home_of
from dlimg.errors import NoEngine
from dlimg.host import process
from dlimg.model import Base, BaseSource, BuiltImage, OperatingSystem
from tests.engine.test_load_images import an_image, sha256
from tests.support import small_images
from tests.support.stalled_blob import contents, stalled_blob

pytestmark = pytest.mark.engine

DEBIAN = OperatingSystem(
    name="debian13",
    distribution="Debian 13",
    vendor="debian",
    suite="trixie",
    image="debian:trixie-slim",
    python="3.13",
)
# One small file of the mirror that the base's own apt source names.
REACH = (
    "/usr/lib/apt/apt-helper download-file"
    " $(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources | head -n 1)"
    "/dists/trixie/Release /tmp/release"
)
CDI = {
    "cdiVersion": "0.6.0",
    "kind": "example.com/gpu",
    "devices": [{"name": "0", "containerEdits": {"env": ["MADE_UP_GPU=0"]}}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The engine of all tests and a second one; both have the image `base`."""

    first: Engine
    second: Engine
    home: PrivateHome
    environment: dict[str, str]
    base: str
    cdi: Path

    def up(self) -> Engine:
        return private_engine.up(self.home, Context.of(self.environment, print), cdi=[self.cdi])


@pytest.fixture(scope="module")
def pair(engine: Engine, turn: Callable[[], AbstractContextManager[None]]) -> Iterator[Pair]:
    obstacle = private_engine.unsupported_reason()
    if obstacle:
        pytest.skip(f"no private engine on this machine: {obstacle}")
    with turn():
        base = bases.find_base(engine, DEBIAN, choice="bootstrap", pins={}, log=print)
    name = base.reference.removeprefix("docker-image://")
    # A short path: sockets have one.
    folder = Path(tempfile.mkdtemp(prefix="dlimg-"))
    cdi = folder / "cdi"
    cdi.mkdir()
    (cdi / "made-up.json").write_text(json.dumps(CDI))
    environment = {**os.environ, "DLIMG_ENGINE_HOME": str(folder / "e")}
    home = home_of(Context.of(environment, print))
    try:
        second = private_engine.up(home, Context.of(environment, print), cdi=[cdi])
        second.sdk.images.load(b"".join(engine.sdk.images.get(name).save(named=True)))
        yield Pair(
            first=engine, second=second, home=home, environment=environment, base=name, cdi=cdi
        )
        second.sdk.close()
    finally:
        private_engine.purge(home, log=print)
        shutil.rmtree(folder)


def reaches_out(engine: Engine, base: str) -> None:
    """Containers and build steps of this engine reach the package mirror.

    Retries because of a busy mirror or name server: a broken network stays broken.
    """
    script = f"for pause in 5 20 0; do {REACH} && exit; sleep $pause; done; exit 1"
    engine.sdk.containers.run(base, ["sh", "-c", script], remove=True)
    process.run_checked(
        [str(engine.docker), "buildx", "build", "--no-cache", "--quiet", "-"],
        env=engine.environment,
        stdin=f"FROM {base}\nRUN {script}\n",
        timeout=300,
    )


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def marked_rules(pair: Pair) -> int:
    command = private_engine.tool_runner(pair.home)
    program = next(p for p in network.IPTABLES_COMMANDS if command([p, "-w", "-S"]).returncode == 0)
    rules = (command([program, "-w", "-t", table, "-S"]).stdout for table in ("filter", "nat"))
    return sum(text.count(f"dlimg:{pair.home.bridge}") for text in rules)


def where_nothing_was_made(pair: Pair, state: Path) -> Engine:
    """The second engine, for a user who has built nothing: `prune` would remove the base."""
    own = {**pair.second.environment, "XDG_STATE_HOME": str(state)}
    return replace(pair.second, context=Context.of(own, print))


def test_prune_removes_what_was_made_here_and_nothing_built_on_it(
    pair: Pair, tmp_path: Path
) -> None:
    second = where_nothing_was_made(pair, tmp_path)
    start = Base(os="debian13", source=BaseSource.BOOTSTRAP, identity="x", reference=pair.base)
    plan = small_images.planned(start, "FROM debian:trixie-slim\nRUN true\n")
    (built,) = small_images.built_all([plan], second)
    assert isinstance(built, BuiltImage), built
    repository = plan.image.repository
    small_images.derived_image(plan.reference, "ENV MINE=1", f"{repository}:derived", second)
    second.sdk.images.get(plan.reference).tag(repository, "mine")
    result = prune_engine(second)
    assert set(result.images) == {plan.reference, plan.moving_reference}
    # The base was loaded, not made here.
    assert [image.name for image in result.retained] == [pair.base]
    assert small_images.has_image(second, f"{repository}:derived")
    assert second.sdk.images.get(f"{repository}:mine").id == built.digest
    for name in ("derived", "mine"):
        second.sdk.images.remove(f"{repository}:{name}")


def test_prune_removes_what_a_cancelled_pull_left(pair: Pair, tmp_path: Path) -> None:
    manifest, blobs = an_image(os.urandom(8_000_000))
    layer = json.loads(manifest)["layers"][0]["digest"]
    stalled = stalled_blob(blobs[layer])
    second = where_nothing_was_made(pair, tmp_path)
    with serve_image(manifest, {**blobs, layer: stalled}) as served:
        argv = [str(second.docker), "pull", served.reference(sha256(manifest))]
        with process.open_child(argv, env=second.environment, cwd=None, stdin=None) as pull:
            assert stalled.half_read.wait(60)
            assert process.wait_until(lambda: layer in contents(second), 20)
            process.end_group(pull)
        stalled.resumed.set()
    time.sleep(2)
    assert layer in contents(second)
    prune_engine(second)
    assert process.wait_until(lambda: layer not in contents(second), 30)


def test_the_private_engine_reports_its_settings(pair: Pair) -> None:
    assert pair.second.private
    assert pair.second.root == str(pair.home.data)
    assert client.free_bytes(pair.second)
    status = private_engine.status(pair.home, Context.of(pair.environment, print))
    assert (status.running, status.host) == (True, pair.second.host)
    assert status.version == pair.second.version
    assert any("docker.io" in line for line in status.packages)
    assert status.bridge == pair.home.bridge


def test_a_running_private_engine_is_found(pair: Pair) -> None:
    environment = {**pair.environment, "DOCKER_HOST": pair.home.host}
    result = find_engine(Context.of(environment, print), private="refuse")
    result.sdk.close()
    assert (result.host, result.private) == (pair.second.host, True)


def test_a_second_up_only_repairs_the_network(pair: Pair) -> None:
    before = private_engine.status(pair.home, Context.of(pair.environment, print))
    command = private_engine.tool_runner(pair.home)
    chosen = network.load_network(pair.home.network)
    assert chosen is not None
    assert marked_rules(pair) == 3
    network.remove_rules(chosen, command)
    assert marked_rules(pair) == 0
    pair.up().sdk.close()
    assert marked_rules(pair) == 3
    assert private_engine.status(pair.home, Context.of(pair.environment, print)) == before


def test_a_device_of_a_made_up_vendor(pair: Pair) -> None:
    assert gpu.gpu_devices(pair.second)[0] == "example.com/gpu=0"
    message = pair.second.sdk.containers.run(
        pair.base,
        ["printenv", "MADE_UP_GPU"],
        device_requests=[gpu.device_request("example.com/gpu=0")],
        remove=True,
    )
    assert message == b"0\n"


@pytest.mark.slow
def test_a_port_published_on_loopback(pair: Pair) -> None:
    answer = (
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8888, Listen => 1);"
        "$| = 1; print qq{ready\\n}; my $c = $s->accept; print $c qq{hello\\n};"
    )
    container = pair.second.sdk.containers.run(
        pair.base, ["perl", "-e", answer], ports={"8888/tcp": ("127.0.0.1", 0)}, detach=True
    )
    try:
        assert process.wait_until(lambda: b"ready" in container.logs(), 20)
        container.reload()
        (published,) = container.ports["8888/tcp"] or [{}]
        port = int(published["HostPort"])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            assert caller.recv(100) == b"hello\n"
    finally:
        container.remove(force=True)


def test_two_private_engines_keep_their_networks(pair: Pair) -> None:
    before = links()
    assert pair.home.bridge in before
    reaches_out(pair.first, pair.base)
    reaches_out(pair.second, pair.base)
    private_engine.down(pair.home, log=print)
    assert pair.home.bridge not in links()
    assert marked_rules(pair) == 0
    assert not private_engine.status(pair.home, Context.of(pair.environment, print)).running
    assert not pair.home.socket.exists()
    assert pair.home.data.is_dir()
    reaches_out(pair.first, pair.base)
    with addresses_taken(pair):
        pair.up().sdk.close()
    pair.second.sdk.images.get(pair.base)
    reaches_out(pair.second, pair.base)


@contextlib.contextmanager
def addresses_taken(pair: Pair) -> Iterator[None]:
    """Meanwhile another network of the host has the addresses of the second engine."""
    saved = network.load_network(pair.home.network)
    assert saved
    name, ip = f"t{secrets.token_hex(4)}", private_engine.tool_runner(pair.home)
    assert ip(["ip", "link", "add", name, "type", "bridge"]).returncode == 0
    try:
        assert ip(["ip", "address", "add", saved.gateway, "dev", name]).returncode == 0
        assert ip(["ip", "link", "set", "dev", name, "up"]).returncode == 0
        yield
    finally:
        ip(["ip", "link", "delete", "dev", name])
    other = network.load_network(pair.home.network)
    assert other
    assert other.addresses != saved.addresses


def test_a_private_engine_keeps_its_images_over_a_crash(pair: Pair) -> None:
    pid = private_engine.status(pair.home, Context.of(pair.environment, print)).pid
    os.kill(pid, signal.SIGKILL)
    assert process.wait_until(lambda: private_engine.running_pid(pair.home) == 0, 10)
    assert pair.home.pid_file.exists()
    assert pair.home.socket.exists()
    again: list[Engine] = []
    threads = [threading.Thread(target=lambda: again.append(pair.up())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(again) == 2
    for one in again:
        one.sdk.images.get(pair.base)
        one.sdk.close()
    daemons = [
        entry
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if str(pair.home.daemon_config) in entry.read_text(errors="replace")
    ]
    assert len(daemons) == 1


def test_a_start_that_fails_shows_the_end_of_the_log(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pair.home.path.with_name("f")
    folder.mkdir()
    (folder / "root").symlink_to(pair.home.root)
    monkeypatch.setattr(private_engine, "daemon_settings", lambda *_, **__: {"no-such-setting": 1})
    home = home_of(Context.of({"DLIMG_ENGINE_HOME": str(folder)}, print))
    with pytest.raises(NoEngine, match="no-such-setting") as caught:
        private_engine.up(home, Context.of(pair.environment, print))
    assert caught.value.exit_code == 4
    assert home.bridge not in links()


@pytest.mark.slow
def test_an_interrupt_while_it_is_fetched_leaves_nothing_half(pair: Pair) -> None:
    folder = pair.home.path.with_name("g")
    text = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from dlimg.context import Context\n"
        "from dlimg.engine import private_engine\n"
        "from dlimg.engine.private_home import home_of\n"
        "log = lambda line: print(line, flush=True)\n"
        "context = Context.of(os.environ, log)\n"
        "private_engine.up(home_of(context), context)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        env={**pair.environment, "DLIMG_ENGINE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert "fetching" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) != 0
    assert list(folder.iterdir()) == []
