"""zstd layers by default, gzip by option or for an old engine, in the engine and at a registry."""

import contextlib
import io
import json
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.context import Context
from dlimg.engine.client import Engine, list_images
from dlimg.model import Base, BuiltImage
from dlimg.publish.push import push_image
from dlimg.registry.http import Repository, open_registry
from dlimg.store.images import load_image
from tests.support import real_jax, small_images
from tests.support.fake_registry import FakeRegistry, running
from tests.support.image_tree import tree
from tests.support.one_cell_project import BUILD, REGISTRY, OneCellProject, one_cell_project
from tests.support.rows import first_rows, first_values

pytestmark = pytest.mark.engine

TYPE = "application/vnd.oci.image.layer.v1.tar"
# A client whose engine has never heard of zstd: it answers as Docker 20.10 does.
OLD_DOCKER = """\
#!{python}
import os, sys, urllib.request
if "pull" in sys.argv:
    host, _, rest = sys.argv[-1].partition("/")
    name, _, digest = rest.partition("@")
    with urllib.request.urlopen(f"http://{{host}}/v2/{{name}}/manifests/{{digest}}") as response:
        if b"tar+zstd" in response.read():
            sys.exit("failed to register layer: archive/tar: invalid tar header")
os.execv({docker!r}, [{docker!r}, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def project(
    engine: Engine, jax_image: BuiltImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneCellProject]:
    assert engine.host
    with one_cell_project(tmp_path_factory.mktemp("project"), jax_image) as result:
        result.ready("both")
        yield result


@pytest.fixture(scope="module")
def digests(engine: Engine, project: OneCellProject) -> Iterator[Mapping[str, str]]:
    """The digests of the cell's image by its compression."""
    yield {"zstd": project.built("both"), "gzip": project.built("both", "--compression", "gzip")}
    forget(engine)


def forget(engine: Engine) -> None:
    for row in list_images(engine, {"reference": f"{REGISTRY}/*"}):
        for name in row["RepoTags"] or ():
            engine.sdk.images.remove(name)


def media_types(engine: Engine, digest: str) -> list[str]:
    """The media types of the layers, by the manifest that the engine has."""
    saved = io.BytesIO(b"".join(engine.sdk.images.get(digest).save()))
    with tarfile.open(fileobj=saved) as tar:
        member: Any = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        manifest = json.load(member)
    return [layer["mediaType"] for layer in manifest["layers"]]


def runs(engine: Engine, image: str) -> bytes:
    arguments = ["/opt/env/bin/python", "-c", "import jax; print(jax.x)"]
    return bytes(engine.sdk.containers.run(image, arguments, entrypoint="", remove=True))


@pytest.mark.parametrize("method", first_values(["zstd", "gzip"], 1, pytest.mark.slow))
def test_an_image_of_each_compression_loads_and_runs(
    engine: Engine, digests: Mapping[str, str], method: str
) -> None:
    assert set(media_types(engine, digests[method])) == {f"{TYPE}+{method}"}
    assert runs(engine, digests[method]) == b"1\n"


@pytest.mark.slow
def test_both_have_the_same_files_and_other_names(
    engine: Engine, digests: Mapping[str, str]
) -> None:
    zstd, gzip = (tree(engine, digests[method]) for method in ("zstd", "gzip"))
    assert len(zstd) > 1000
    assert zstd == gzip
    configs = [engine.sdk.images.get(digest).attrs for digest in digests.values()]
    keys = {attrs["Config"]["Labels"].pop("io.dlimg.key") for attrs in configs}
    assert len(keys) == 2
    assert configs[0]["Config"] == configs[1]["Config"]
    tags = [tag for attrs in configs for tag in attrs["RepoTags"]]
    assert {key[:12] for key in keys} <= {tag.rpartition("-")[2] for tag in tags}


@pytest.mark.parametrize(
    ("compression", "method"),
    first_rows([("zstd3", "zstd"), ("gzip", "gzip")], 1, pytest.mark.slow),
)
def test_buildkit_follows(engine: Engine, base: Base, compression: str, method: str) -> None:
    """The layers of a base in the engine are recompressed, too."""
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN echo a > /a\n")
    with small_images.image(replace(plan, compression=compression), engine) as built:
        kinds = media_types(engine, built.digest)
    assert len(kinds) == 2
    # Docker's own media type of gzip layers ends with `.gzip`.
    assert {kind.rpartition(".")[2].removeprefix("tar+") for kind in kinds} == {method}


@pytest.mark.parametrize("method", first_values(["zstd", "gzip"], 1, pytest.mark.slow))
def test_a_stock_engine_pulls_from_a_registry_what_was_published(
    engine: Engine, project: OneCellProject, digests: Mapping[str, str], method: str
) -> None:
    store = project.store("both")
    image = load_image(store, digests[method])
    assert image is not None
    with running(FakeRegistry()) as registry:
        context = Context.of(project.environment("both"), print)
        with open_registry(registry.host, context) as connection:
            repository = Repository(registry=connection, name="jax")
            push_image(repository, method, image, store, log=print)
        name = f"{registry.host}/jax:{method}"
        try:
            pulled = engine.sdk.images.pull(f"{registry.host}/jax", method)
            assert pulled.id == digests[method]
            assert runs(engine, name) == b"1\n"
        finally:
            with contextlib.suppress(Exception):
                engine.sdk.images.remove(name)


@pytest.fixture
def old_engine(engine: Engine, project: OneCellProject, tmp_path: Path) -> Mapping[str, str]:
    """An environment whose engine reads no zstd."""
    program = tmp_path / "docker"
    program.write_text(OLD_DOCKER.format(python=sys.executable, docker=str(engine.docker)))
    program.chmod(0o755)
    environment = {**project.environment("both"), **engine.environment}
    # Under another address it is not known as dlimg's own, which comes with its own client.
    socket = tmp_path / "engine.sock"
    socket.symlink_to(engine.host.removeprefix("unix://"))
    environment["DOCKER_HOST"] = f"unix://{socket}"
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    return environment


def said(
    project: OneCellProject, environment: Mapping[str, str], arguments: Sequence[str]
) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "dlimg", *arguments],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.slow
def test_an_old_engine_gets_gzip_by_itself_and_one_line_says_so(
    engine: Engine,
    project: OneCellProject,
    old_engine: Mapping[str, str],
    digests: Mapping[str, str],
) -> None:
    forget(engine)
    code, out, message = said(project, old_engine, [*BUILD, "--format", "json"])
    assert code == 0, message
    (line,) = json.loads(out)
    assert line["digest"] == digests["gzip"]
    lines = [line for line in message.splitlines() if "gzip" in line]
    assert len(lines) == 1
    assert "the images get gzip layers: the engine at" in lines[0]
    assert "reads no zstd layers" in lines[0]
    again = said(project, old_engine, [*BUILD, "--format", "json"])
    assert json.loads(again[1])[0]["cached"], again


@pytest.mark.parametrize(
    "command_line",
    first_values(
        [
            f"build --builder layers --compression zstd {real_jax.CELL}",
            f"build --builder buildkit --compression zstd:9 {real_jax.CELL}",
            f"publish {real_jax.CELL} --to 127.0.0.1:9/team",
        ],
        1,
        pytest.mark.slow,
    ),
)
def test_what_is_stated_or_published_is_refused_on_an_old_engine(
    engine: Engine, project: OneCellProject, old_engine: Mapping[str, str], command_line: str
) -> None:
    forget(engine)
    code, _, message = said(project, old_engine, shlex.split(command_line))
    assert code == 4, message
    assert "reads no zstd layers" in message
    assert "`--compression gzip`" in message
