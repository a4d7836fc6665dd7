"""A machine with an engine of its own, as a cloud gives it: reached by ssh, its engine empty.

It is a privileged container with a network of its own, so that its engine's rules and containers
are apart from those of the engine in which it runs. The engine's programs are those of dlimg's
private one. Its data are on a volume: there is no overlay on an overlay.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.engine.private_home import home_of, install_engine
from dlimg.host.file_lock import file_lock
from dlimg.model import Base
from tests.support.made_up_gpu import NVIDIA, cdi_specification
from tests.support.small_images import derived_image
from tests.support.ssh_machine import SshMachine, machine_image, started_machine

PROGRAMS: Final = (
    *("docker", "dockerd", "docker-init", "docker-proxy"),
    *("containerd", "containerd-shim-runc-v2", "runc"),
)
INSTRUCTION: Final = """\
RUN apt-get update -qq && \\
    apt-get install -qq -y --no-install-recommends iptables libseccomp2 sudo >/dev/null && \\
    rm -rf /var/lib/apt/lists/* && groupadd docker && mkdir /etc/cdi && \\
    echo 'ALL ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/all"""
NO_GPU: Final[Mapping[Path, str]] = MappingProxyType({})
# In the place of systemd, which a container does not start.
SYSTEMCTL: Final = """\
#!/bin/sh
[ "$1 $2" = "restart docker" ] || exit 0
number=$(cat /var/run/docker.pid 2>/dev/null) && kill "$number"
while [ -n "$number" ] && [ -e "/proc/$number" ]; do sleep 0.1; done
setsid dockerd --feature=containerd-snapshotter --bip=10.214.0.1/24 \
    --default-address-pool=base=10.214.128.0/17,size=24 \
    </dev/null >>/var/log/docker.log 2>&1 &
for _ in $(seq 300); do docker version >/dev/null 2>&1 && exit; sleep 0.1; done
tail -n 20 /var/log/docker.log >&2
exit 1
"""


@contextlib.contextmanager
def engine_machine(
    engine: Engine, base: Base, folder: Path, *options: str, gpu: Mapping[Path, str] = NO_GPU
) -> Iterator[SshMachine]:
    """A running machine with an empty engine; its users may use sudo.

    `gpu` are the files of a made-up GPU's driver and their paths, there and in containers.
    """
    root = _engine_programs(engine.context)
    folder.mkdir(parents=True)
    systemctl = folder / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    own = (
        *("--privileged", "--init", "--volume=/var/lib/docker", f"--volume={root}:{root}:ro"),
        f"--volume={systemctl}:/usr/local/bin/systemctl:ro",
        *(f"--volume={file}:{path}:ro" for file, path in gpu.items()),
    )
    image = "dlimg-test/engine-machine"
    derived_image(machine_image(engine, base), INSTRUCTION, image, engine)
    with started_machine(engine, image, folder, *own, *options, own_network=True) as machine:
        files = " ".join(str(next(root.glob(f"usr/*bin/{name}"))) for name in PROGRAMS)
        cdi = cdi_specification(NVIDIA, {Path(path): path for path in gpu.values()})
        give_gpu = f"cat >/etc/cdi/nvidia.json <<'END'\n{json.dumps(cdi)}\nEND\n" if gpu else ""
        start = f"{give_gpu}ln -s {files} /usr/local/bin && systemctl restart docker"
        ended = machine.inside(start)
        assert ended.returncode == 0, ended.stderr
        yield machine


def _engine_programs(context: Context) -> Path:
    """The folder with the programs of a current engine, fetched where it is not there yet."""
    home = home_of(context)
    home.path.mkdir(parents=True, exist_ok=True)
    with file_lock(home.lock, doing="fetching an engine", log=print):
        if not home.root.is_dir():
            install_engine(home, print)
    return home.root


@contextlib.contextmanager
def loopback_there(machine: SshMachine, *ports: int) -> Iterator[None]:
    """What listens at these ports of the loopback here, listens on the machine's loopback, too."""
    tunnels = [f"-R127.0.0.1:{port}:127.0.0.1:{port}" for port in ports]
    argv = ["ssh", "-F", str(machine.config), "-N", "-oExitOnForwardFailure=yes", *tunnels, "vm"]
    listens = " && ".join(f"grep -q ' 0100007F:{port:04X} 0' /proc/net/tcp" for port in ports)
    with subprocess.Popen(argv, env=os.environ) as child:
        try:
            wait = f"for _ in $(seq 100); do {listens} && exit; sleep 0.1; done; exit 1"
            assert machine.inside(wait).returncode == 0, ports
            yield
        finally:
            child.terminate()
