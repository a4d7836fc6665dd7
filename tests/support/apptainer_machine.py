"""A machine of many users with Apptainer: a privileged container with a registry on its loopback.

Apptainer is the package of Debian unstable, all that it needs is Debian 13's. It runs as on
clusters: by an ordinary user, in a user namespace, with FUSE.
"""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run_checked
from dlimg.model import Base
from tests.support.host_container import SECONDS, HostContainer, Session, docker, started

USER, NUMBER = "somebody", 12345
HOME, PROJECT = f"/home/{USER}", "/scratch/project"
REGISTRY = "127.0.0.1:5000"
# Unstable's index is valid for a week; mirrors may lag behind.
DOCKERFILE = """\
FROM {base}
COPY <<'EOF' /etc/apt/sources.list.d/sid.list
deb [check-valid-until=no] http://deb.debian.org/debian sid main
EOF
COPY <<'EOF' /etc/apt/preferences.d/sid
Package: *
Pin: release n=sid
Pin-Priority: 100
EOF
RUN apt-get update -qq && \\
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \\
        apptainer docker-registry fakeroot fuse-overlayfs squashfuse >/dev/null && \\
    rm -rf /var/lib/apt/lists/*
RUN useradd --uid {number} --create-home --shell /bin/bash {user} && \\
    install -d -o {user} {project}
# What the user's own Python uses must not get into an image's.
COPY --chown={number}:{number} <<'EOF' {home}/.local/lib/python3.13/site-packages/jax.py
raise ImportError('of the machine')
EOF
COPY <<'EOF' /etc/registry.yml
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: /var/lib/registry}}}}
http: {{addr: ":5000"}}
EOF
# The registry has no TLS.
ENV APPTAINER_NOHTTPS=1
CMD ["docker-registry", "serve", "/etc/registry.yml"]
"""
# FUSE is open to all users of a machine with udev.
READY = """\
chmod 666 /dev/fuse
timeout 60 bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null; do sleep 0.1; done'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApptainerMachine:
    """The machine's container; `port` is its registry's on this machine's loopback."""

    container: HostContainer
    port: str

    def run(self, *command: str, stdin: str = "", **variables: str) -> ProcessResult:
        """Run a command as the machine's user, in their project."""
        options = [f"--env={name}={value}" for name, value in variables.items()]
        places = ("--user", USER, "--workdir", PROJECT, f"--env=HOME={HOME}")
        words = ("exec", "--interactive", *places, *options, self.container.name, *command)
        return docker(self.container.engine, *words, stdin=stdin)

    def session(self, image: str, *options: str, **variables: str) -> Session:
        """Return `apptainer exec` of scripts."""
        command = ("apptainer", "exec", *options, image, "/bin/sh", "-c")
        return lambda script: self.run(*command, script, **variables)

    def push(self, image: str) -> str:
        """Push an image of the engine to the machine's registry; return its name there."""
        name = f"image-{secrets.token_hex(4)}"
        outside = f"127.0.0.1:{self.port}/{name}"
        engine = self.container.engine
        docker(engine, "tag", image, outside)
        try:
            pushed = docker(engine, "push", "--quiet", outside)
            assert pushed.returncode == 0, pushed.stderr
        finally:
            docker(engine, "rmi", outside)
        return f"{REGISTRY}/{name}"

    def build(self, image: str) -> str:
        """Return the file that Apptainer makes of an image of the engine."""
        name = self.push(image)
        file = f"{HOME}/{name.rpartition('/')[2]}.sif"
        fast = ("--mksquashfs-args", "-comp lz4")
        result = self.run("apptainer", "build", *fast, file, f"docker://{name}")
        assert result.returncode == 0, result.stderr[-2000:]
        return file


def apptainer_image(engine: Engine, base: Base) -> str:
    """The image of the machine; it stays in the engine."""
    name = "dlimg-test/apptainer-machine"
    argv = engine.docker_argv("buildx", "build", "--quiet", "--provenance=false", "--tag", name)
    dockerfile = DOCKERFILE.format(
        base=base.reference.removeprefix("docker-image://"),
        user=USER,
        number=NUMBER,
        home=HOME,
        project=PROJECT,
    )
    run_checked([*argv, "-"], env=engine.environment, stdin=dockerfile, timeout=SECONDS)
    return name


@contextlib.contextmanager
def apptainer_machine(engine: Engine, base: Base) -> Iterator[ApptainerMachine]:
    """A running machine; its user's files are gone with it."""
    volumes = ("--volume", HOME, "--volume", "/tmp")  # noqa: S108  # in the container
    options = ("--privileged", "--publish", "127.0.0.1::5000", *volumes)
    with started(engine, apptainer_image(engine, base), options=options) as container:
        container.root(READY)
        yield ApptainerMachine(container=container, port=container.port(5000))
