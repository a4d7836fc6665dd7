"""Small real images that build in seconds and are removed after the test."""

import contextlib
import io
import secrets
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import docker
from docker.models.images import Image as EngineImage

from dlimg.builders.builder import BuildParameters
from dlimg.builders.buildkit import build
from dlimg.builders.progress import BuildProgress
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine
from dlimg.host.process import run_checked
from dlimg.model import Base, BuildFailure, BuiltImage, PlannedImage
from tests.support import samples

# What is in the names of one process's images, as others may run the same tests on this engine.
TOKEN = secrets.token_hex(4)

# Bash stands in for Python, so that a check of these tests is a shell script. It is started as
# `python -c TEXT WORD SCRIPT` and says its last word where it ends with 0, without a new process.
WITH_PYTHON = """\
FROM debian:trixie-slim
COPY --chmod=755 <<'EOF' /usr/local/bin/python
#!/bin/bash
[ $# = 4 ] || exit 2
LAST="$3" BASH_ENV=/etc/last.sh exec bash "$4"
EOF
COPY --chmod=644 <<'EOF' /etc/last.sh
unset BASH_ENV
trap '[ $? != 0 ] || { echo; echo "ended $LAST"; } >&9' EXIT
exec 9>&1
EOF
RUN useradd --uid 1000 --gid 100 --create-home user
ENV DLIMG_SMALL=yes
WORKDIR /home/user
USER 1000:100
CMD ["bash"]
"""


def planned(
    base: Base, dockerfile: str, *, family: str = "pytorch", accelerator: str = "cpu"
) -> PlannedImage:
    """A planned image under names that no other test uses."""
    cell = samples.cell(family, version=f"0.{secrets.randbelow(10**9)}", accelerator=accelerator)
    image = samples.image(
        cell, dockerfile=dockerfile, repository=f"dlimg-test/{family}", tag=cell.version
    )
    # No template made it, so only its text can say that it has a form of its own.
    image = replace(image, layers_obstacle="its Dockerfile has a form of its own")
    return samples.planned(image, on=base, key=secrets.token_hex(32))


def built_all(
    wanted: Sequence[PlannedImage],
    engine: Engine,
    *,
    on_progress: Callable[[BuildProgress], None] = lambda _: None,
    using: Secrets | None = None,
    find_links: Sequence[Path] = (),
) -> tuple[BuiltImage | BuildFailure, ...]:
    return build(
        wanted,
        engine,
        BuildParameters(
            jobs=2,
            secrets=using or Secrets(),
            find_links=find_links,
            on_progress=on_progress,
        ),
    )


@contextlib.contextmanager
def image(plan: PlannedImage, engine: Engine) -> Iterator[BuiltImage]:
    """The image, built; its names are gone afterwards."""
    with unnamed_afterwards(engine, plan):
        (result,) = built_all([plan], engine)
        assert isinstance(result, BuiltImage), result
        yield result
    # A test may have given the image's names to another one.
    with contextlib.suppress(docker.errors.APIError):
        engine.sdk.images.remove(result.digest)


@contextlib.contextmanager
def unnamed_afterwards(engine: Engine, *wanted: PlannedImage) -> Iterator[None]:
    """Remove these names from the engine afterwards, whatever image has them."""
    try:
        yield
    finally:
        for one in wanted:
            for name in (one.reference, one.moving_reference):
                with contextlib.suppress(docker.errors.ImageNotFound):
                    engine.sdk.images.remove(name)


def derived_image(start: str, instruction: str, name: str, engine: Engine) -> EngineImage:
    """An image that a user builds on one of dlimg's, under a name of their choice."""
    argv = [str(engine.docker), "buildx", "build", "--quiet", "--provenance=false", "--tag", name]
    dockerfile = f"FROM {start}\n{instruction}\n"
    run_checked([*argv, "-"], env=engine.environment, stdin=dockerfile, timeout=120)
    return engine.sdk.images.get(name)


def has_image(engine: Engine, name: str) -> bool:
    try:
        engine.sdk.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def file_in(engine: Engine, image: str, path: str) -> bytes:
    """The content of a file of an image."""
    container = engine.sdk.containers.create(image, entrypoint=["true"])
    try:
        chunks, _ = container.get_archive(path)
        return only_file(b"".join(chunks))
    finally:
        container.remove(v=True)


def only_file(archive: bytes) -> bytes:
    """The content of a tar's only file."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        return file.read()


def processes_with(part: str) -> list[str]:
    """The command lines of processes on this machine that have this part."""
    results: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            results += [line] if part in line else []
    return results
