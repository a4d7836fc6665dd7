"""Loading images from the loopback registry and compiling byte code, without leftovers."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import docker
import pytest

from dlimg.assembly.compile_python import LABEL, compile_in, stop_compilers
from dlimg.builders.load import (
    load_image,
    probe_compression,
    remove_leftover_names,
    temporary_image,
)
from dlimg.builders.loopback_registry import NAME, Content, serve_image
from dlimg.engine.client import Engine, list_images
from dlimg.engine.ownership import OWNER_LABEL
from dlimg.errors import Negative, NoEngine
from dlimg.host.process import end_children, wait_until
from dlimg.layer.entries import LayerEntry, arrange_entries
from dlimg.model import BuiltImage
from tests.support import small_images
from tests.support.stalled_blob import contents, stalled_blob

pytestmark = pytest.mark.engine

REPOSITORY = f"dlimg-test/intake-{small_images.TOKEN}"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def an_image(*texts: bytes) -> tuple[bytes, dict[str, Content]]:
    """An image with a layer of one file for each text."""
    tars = [_tar(text) for text in texts]
    packed = [gzip.compress(tar, mtime=0) for tar in tars]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/file"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
    }
    kind = "application/vnd.oci.image"
    text = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": _descriptor(f"{kind}.config.v1+json", text),
        "layers": [_descriptor(f"{kind}.layer.v1.tar+gzip", layer) for layer in packed],
    }
    blobs: dict[str, Content] = {sha256(content): content for content in (text, *packed)}
    return json.dumps(manifest).encode(), blobs


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": sha256(content), "size": len(content)}


def _tar(text: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(f"file-{sha256(text)[7:15]}")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return out.getvalue()


@pytest.fixture
def names(engine: Engine, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    tag = re.sub(r"\W", "-", request.node.name)
    wanted = [f"{tag}-1", f"{tag}-2"]
    yield wanted
    for name in wanted:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.sdk.images.remove(f"{REPOSITORY}:{name}")


def passing(engine: Engine, digest: str) -> list[str]:
    """The temporary names of this image."""
    images = list_images(engine, intermediate=True)
    names = [name for image in images for name in image["RepoDigests"] or ()]
    return [name for name in names if name.endswith(f"/{NAME}@{digest}")]


def test_an_image_is_taken_in_under_its_names_only(engine: Engine, names: list[str]) -> None:
    manifest, blobs = an_image(os.urandom(20), os.urandom(30))
    digest = sha256(manifest)
    tags = [(REPOSITORY, name) for name in names]
    result = load_image(engine, manifest, digest, blobs, names=tags)
    image = engine.sdk.images.get(f"{REPOSITORY}:{names[0]}")
    assert result == image.id
    assert sorted(image.tags) == sorted(f"{REPOSITORY}:{name}" for name in names)
    assert not [name for name in image.attrs["RepoDigests"] if NAME in name]


def test_only_what_the_engine_lacks_is_fetched(engine: Engine, names: list[str]) -> None:
    first, second = os.urandom(20), os.urandom(30)
    manifest, blobs = an_image(first)
    load_image(engine, manifest, sha256(manifest), blobs, names=[(REPOSITORY, names[0])])
    manifest, blobs = an_image(first, second)
    with serve_image(manifest, blobs) as served:
        reference = served.reference(sha256(manifest))
        repository, _, digest = reference.partition("@")
        engine.sdk.api.pull(repository, digest, auth_config={})
        fetched = {line.rpartition("/")[2] for line in served.requests if line.startswith("GET")}
        engine.sdk.images.remove(reference)
    layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
    assert layers[0] not in fetched
    assert layers[1] in fetched


@pytest.mark.parametrize("damage", ["lost", "other"])
def test_an_image_that_is_not_whole_leaves_nothing(engine: Engine, damage: str) -> None:
    manifest, blobs = an_image(os.urandom(20))
    layer = json.loads(manifest)["layers"][0]["digest"]
    if damage == "lost":
        del blobs[layer]
    else:
        blobs[layer] = gzip.compress(_tar(b"other"), mtime=0)
    with (
        pytest.raises(Negative, match="does not load the image"),
        temporary_image(engine, manifest, sha256(manifest), blobs),
    ):
        pytest.fail("it was taken")
    assert passing(engine, sha256(manifest)) == []


def test_a_layer_that_was_damaged_is_taken_as_soon_as_it_is_right(engine: Engine) -> None:
    """The engine may have the damaged download left, and refuse the layer without fetching it."""
    for _ in range(6):
        manifest, blobs = an_image(os.urandom(20_000))
        layer = json.loads(manifest)["layers"][0]["digest"]
        right = blobs[layer]
        assert isinstance(right, bytes)
        damaged = right[:5000] + bytes([right[5000] ^ 1]) + right[5001:]
        with (
            pytest.raises(Negative, match="does not load the image"),
            temporary_image(engine, manifest, sha256(manifest), {**blobs, layer: damaged}),
        ):
            pytest.fail("it was taken")
        with temporary_image(engine, manifest, sha256(manifest), blobs) as image_id:
            assert engine.sdk.images.get(image_id).attrs["Os"] == "linux"
        assert passing(engine, sha256(manifest)) == []


def test_an_engine_elsewhere_is_refused(engine: Engine) -> None:
    away = replace(engine, host="tcp://192.0.2.1:2376")
    with (
        pytest.raises(NoEngine, match=r"192\.0\.2\.1:2376 is not on this host"),
        temporary_image(away, b"{}", sha256(b"{}"), {}),
    ):
        pytest.fail("it was taken")


def test_what_a_killed_dlimg_left_is_forgotten(engine: Engine) -> None:
    manifest, blobs = an_image(os.urandom(20))
    with serve_image(manifest, blobs) as served:
        reference = served.reference(sha256(manifest))
        repository, _, digest = reference.partition("@")
        engine.sdk.api.pull(repository, digest, auth_config={})
        remove_leftover_names(engine)
        # Whoever serves it may still need it.
        assert passing(engine, sha256(manifest)) == [reference]
    remove_leftover_names(engine)
    assert passing(engine, sha256(manifest)) == []


def test_an_interrupted_load_leaves_nothing_in_the_engine(engine: Engine) -> None:
    """An engine that is told to cancel would keep what it has fetched for eight hours."""
    manifest, blobs = an_image(os.urandom(8_000_000))
    layer = json.loads(manifest)["layers"][0]["digest"]
    stalled = stalled_blob(blobs[layer])

    def load() -> None:
        with temporary_image(engine, manifest, sha256(manifest), {**blobs, layer: stalled}):
            pytest.fail("it was taken")

    with ThreadPoolExecutor() as pool:
        loading = pool.submit(load)
        assert stalled.half_read.wait(60)
        assert wait_until(lambda: layer in contents(engine), 20)
        end_children()
        stalled.resumed.set()
        with pytest.raises(Negative, match="interrupted"):
            loading.result(timeout=60)
    assert wait_until(lambda: not {layer, sha256(manifest)} & contents(engine), 30)
    assert passing(engine, sha256(manifest)) == []


START = "opt/env/lib/python/site-packages"
FILES = {
    "empty.py": b"",
    "p/a.py": b"x = 1",
    "p/bad.py": b"not python at all",
    "p/latin.py": b'x = "\377"',
    "q/sitecustomize.py": b'raise SystemExit("executed")',
}
COMPILED = {
    "__pycache__/empty.cpython-313.pyc",
    "p/__pycache__/a.cpython-313.pyc",
    "q/__pycache__/sitecustomize.cpython-313.pyc",
}


def sources(files: Mapping[str, bytes]) -> tuple[LayerEntry, ...]:
    return arrange_entries(
        LayerEntry(path=f"{START}/{path}", mode=0o644, content=text, owner="")
        for path, text in files.items()
    )


def byte_code(engine: Engine, image: str, *sets: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    """The byte code of each set of files, by path in the library."""
    with tempfile.TemporaryFile() as spool:
        places = compile_in(engine, image, "3.13", map(sources, sets), spool)

        def read(offset: int, size: int) -> bytes:
            spool.seek(offset)
            return spool.read(size)

        return [
            {
                path.removeprefix(f"{START}/"): read(*place)
                for path, place in places.get(number, {}).items()
            }
            for number in range(len(sets))
        ]


def test_byte_code_of_every_file_that_can_be_compiled(
    engine: Engine, jax_image: BuiltImage
) -> None:
    many = {f"many/m{number}.py": b"a = (1, 'text', 2.5)\n" * 9 for number in range(120)}
    (alone,) = byte_code(engine, jax_image.digest, FILES)
    assert set(alone) == COMPILED
    code = alone["p/__pycache__/a.cpython-313.pyc"]
    assert code[4:8] == b"\1\0\0\0"  # PEP 552: a hash of the source that nobody compares
    assert b"/opt/env/lib/python3.13/site-packages/p/a.py" in code
    # It is the same whatever else is compiled, and at which place of the list.
    first, nothing, again = byte_code(engine, jax_image.digest, many, {"p/bad.py": b"("}, FILES)
    assert (len(first), nothing, again) == (120, {}, alone)


@pytest.fixture(scope="module")
def broken(engine: Engine, jax_image: BuiltImage) -> Iterator[str]:
    """An image whose Python fails, or writes nothing for one file."""
    name = f"dlimg-test/bytecode-{small_images.TOKEN}:broken"
    message = "[ ! -e /dlimg-bytecode/in/0/hang.py ] || sleep 600; echo no such thing; exit 3"
    text = f"""USER 0
RUN rm /usr/local/lib/dlimg/python \\
    && printf '#!/bin/sh\\n{message}' >/usr/local/lib/dlimg/python \\
    && chmod 755 /usr/local/lib/dlimg/python
"""
    yield str(small_images.derived_image(jax_image.planned.reference, text, name, engine).id)
    engine.sdk.images.remove(name)


def test_a_python_that_does_not_run(engine: Engine, broken: str) -> None:
    with pytest.raises(Negative, match=r"Python ended with 3:\nno such thing"):
        byte_code(engine, broken, FILES)
    assert f"bytecode-{os.getpid()}" not in labels(engine)


def test_a_compiler_that_is_killed(engine: Engine, broken: str) -> None:
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(byte_code, engine, broken, {"hang.py": b""})
        deadline = time.monotonic() + 60
        while not ended.done() and time.monotonic() < deadline:
            stop_compilers(engine)
            time.sleep(0.1)
        with pytest.raises(Negative, match="byte code could not be compiled"):
            ended.result(timeout=60)
    assert f"bytecode-{os.getpid()}" not in labels(engine)


def test_a_compiler_of_another_process_of_this_number_is_left_alone(
    engine: Engine, jax_image: BuiltImage
) -> None:
    """As by a dlimg in a container that uses the same engine."""
    elsewhere = {LABEL: f"bytecode-{os.getpid()}", OWNER_LABEL: f"elsewhere:1:{os.getpid()}:2"}
    theirs = engine.sdk.containers.create(jax_image.digest, ["true"], labels=elsewhere)
    try:
        stop_compilers(engine)
        theirs.reload()
    finally:
        theirs.remove(force=True, v=True)


def labels(engine: Engine) -> list[str]:
    result = engine.sdk.api.containers(all=True, filters={"label": LABEL})
    return [container["Labels"][LABEL] for container in result]


@pytest.mark.slow
def test_processes_that_load_one_image_at_the_same_time_do_not_disturb_each_other(
    engine: Engine,
) -> None:
    manifest, blobs = an_image(os.urandom(20), os.urandom(30))
    digest = sha256(manifest)

    def load_and_remove(_: int) -> str:
        with temporary_image(engine, manifest, digest, blobs) as image_id:
            container = engine.sdk.containers.create(image_id)
            container.remove()
            return image_id

    with ThreadPoolExecutor(6) as pool:
        loaded = list(pool.map(load_and_remove, range(48)))
    assert len(loaded) == 48
    assert not passing(engine, digest)


def test_the_small_image_of_a_compression_probe_is_another_each_time(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        refusals = list(pool.map(lambda _: probe_compression(engine, "gzip"), range(24)))
    assert not any(refusals), refusals
