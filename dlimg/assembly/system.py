"""The operating system of an image as layers: built by BuildKit, kept in the store.

BuildKit builds the Dockerfile's stage `system` once; its layers are compressed here, because
BuildKit's own compression may change with its release.
"""

import contextlib
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Final

import docker

from dlimg.assembly.docker_save import read_chunks, save_as_layout
from dlimg.assembly.wheel_to_layer import LayerContext
from dlimg.engine.client import Engine, has_containerd_store, unreachable_reason
from dlimg.errors import Negative, NoEngine
from dlimg.host.file_lock import file_lock
from dlimg.host.process import MISSING, ProcessResult, run_streaming
from dlimg.layer.compress import WrittenLayer, compress_gzip, compress_other, inflate_file
from dlimg.model import GZIP, BaseSource, PlannedImage
from dlimg.render.bake import LAST_STAGE, SYSTEM_STAGE, stage_file, target_name
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer, hash_texts
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.store.systems import (
    SystemLayers,
    load_system,
    packages_of_layers,
    save_system,
    system_layer_key,
    system_source,
)

_OUTPUT: Final = "type=oci,dest={},tar=false,compression=uncompressed,force-compression=true"

# The files of a Python that decide on byte code: the program, its library where the program is
# linked with it, and the modules that compile.
_PROGRAM: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/bin/python3\.\d+")
_LIBRARY: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/lib/(.*/)?libpython3[^/]*\.so[^/]*")
_COMPILER: Final = re.compile(
    r"(usr|usr/local|opt/python/[^/]+)/lib/python3\.\d+/(py_compile|importlib/util)\.py"
)
_LINKED: Final = b"libpython3."

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemBuildTools:
    """An engine, secret files by id and build arguments, with which BuildKit builds a system.

    `on_line` gets BuildKit's progress, a line of JSON at a time; `log` messages for the user.
    """

    engine: Engine
    secrets: Mapping[str, str]
    arguments: Mapping[str, str]
    on_line: OnLine
    log: Callable[[str], None]


def build_system(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    """Return the image's system from the store; the engine builds it if it is missing.

    Raises Negative if the build fails; BuildKit's output goes to `tools.on_line`.
    """
    return load_or_build_system(planned, store, lambda: _build(planned, store, tools), tools.log)


def load_or_build_system(
    planned: PlannedImage,
    store: Store,
    build: Callable[[], SystemLayers],
    log: Callable[[str], None],
) -> SystemLayers:
    """Return the image's system from the store, or the result of `build` if it is missing."""
    source = system_source(planned)
    lock = store.locks / f"system-{source}"
    with file_lock(lock, doing="building the same system", log=log):
        system = load_system(store, source)
        if system is None:
            system = build()
            save_system(store, source, system)
        return system


def _build(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    with tempfile.TemporaryDirectory(prefix="dlimg-system-") as name:
        layout = Path(name) / "layout"
        if has_containerd_store(tools.engine):
            bake_stage(planned, SYSTEM_STAGE, tools, Path(name), output=_OUTPUT.format(layout))
        else:
            _build_and_save(planned, tools, layout)
        return _import_layout(layout, store, tools.log)


def _build_and_save(planned: PlannedImage, tools: SystemBuildTools, layout: Path) -> None:
    """Write the layout by way of a temporary image, for engines without an OCI exporter."""
    # Another dlimg, with another store, may build the same system in the same engine.
    name = f"dlimg-system:{system_source(planned)[:12]}-{token_hex(4)}"
    with temporary_image(planned, SYSTEM_STAGE, tools, layout.parent, name=name):
        save_as_layout(tools.engine, name, layout)


@contextlib.contextmanager
def temporary_image(
    planned: PlannedImage,
    stage: str,
    tools: SystemBuildTools,
    folder: Path,
    *,
    name: str,
    wheels: str = "",
) -> Iterator[None]:
    """Build an image of this stage under this name; remove the name afterwards.

    Raises as `bake_stage`.
    """
    try:
        bake_stage(planned, stage, tools, folder, output=f"type=docker,name={name}", wheels=wheels)
        yield
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            tools.engine.sdk.images.remove(name)


def bake_stage(
    planned: PlannedImage,
    stage: str,
    tools: SystemBuildTools,
    folder: Path,
    *,
    output: str,
    wheels: str = "",
) -> None:
    """Build the stage (the last one if the name is empty) with `docker buildx bake`.

    `output` is BuildKit's output option, `wheels` the folder of local wheels for a stage that
    takes any. Raises Negative when BuildKit fails, NoEngine when it cannot be started.
    """
    content = stage_file(
        planned,
        stage,
        output,
        secrets=tools.secrets,
        wheels={target_name(planned.image.cell): wheels} if wheels else {},
        arguments=tools.arguments,
    )
    readable = sorted({str(Path(path).parent) for path in tools.secrets.values()})
    argv = [
        *(str(tools.engine.docker), "buildx", "bake", "--file", "-"),
        *("--progress", "rawjson", f"--allow=fs.write={folder}"),
        *(f"--allow=fs.read={path}" for path in readable),
        stage or LAST_STAGE,
    ]
    # A killed buildx leaves temporary files behind: they are to go with this folder.
    environment = {**tools.engine.environment, "TMPDIR": str(folder)}
    # By stdin, because a proxy's address in the arguments may have a password.
    completed = run_streaming(
        argv, on_line=tools.on_line, env=environment, cwd=folder, stdin=json.dumps(content)
    )
    _check_bake(completed, planned, stage, tools)


def _check_bake(
    completed: ProcessResult, planned: PlannedImage, stage: str, tools: SystemBuildTools
) -> None:
    """Raise the error of a failed bake; `bake_stage` lists the errors."""
    if completed.returncode == MISSING:
        hint = "install the docker client with its buildx plugin"
        raise NoEngine(f"{tools.engine.docker} cannot be started: {completed.stderr}", hint=hint)
    if completed.returncode:
        reason = unreachable_reason(tools.engine.context)
        if reason:
            raise NoEngine(
                f"the container engine at {tools.engine.host} does not answer any more: {reason}",
                hint="start it again, then run this again; what was finished is kept",
            )
        subject = f"its {stage} stage" if stage else "it"
        raise Negative(f"{subject} did not build", where=planned.image.cell.id)


def _import_layout(layout: Path, store: Store, log: Callable[[str], None]) -> SystemLayers:
    """Put the layers of a layout's image into the store."""
    manifest = _read_manifest(layout)
    image = _read_blob(layout, manifest["config"]["digest"])
    diff_ids: Sequence[str] = image["rootfs"]["diff_ids"]
    layers = tuple(
        import_layer(_blob(layout, descriptor["digest"]), diff_id, store, log)
        for descriptor, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    )
    return SystemLayers(
        layers=layers,
        config=_parse_config(image.get("config") or {}),
        interpreter=interpreter_digest(map(store.blob, layers)),
        packages=packages_of_layers(map(store.blob, layers)),
    )


def import_layer(tar: Path, diff_id: str, store: Store, log: Callable[[str], None]) -> Layer:
    """Put this tar into the store as a layer; raises Negative if its sha256 differs."""

    def write(file: IO[bytes]) -> WrittenLayer:
        written = compress_gzip(read_chunks(tar), file.write)
        if written.diff_id != diff_id:
            raise _damaged_build(diff_id)
        return written

    key = system_layer_key(diff_id)
    return find_layer(store, key) or make_layer(store, key, write, log, description="system")


def recompress_system(
    system: SystemLayers, planned: PlannedImage, context: LayerContext
) -> SystemLayers:
    """Return the system in the context's compression; layers of a registry's base stay as they are.

    Raises Negative for a damaged layer.
    """
    is_pulled = planned.base.source is BaseSource.REGISTRY
    base = system.layers[:-1] if is_pulled else ()
    recompressed = recompress_layers(system.layers[len(base) :], context)
    return replace(system, layers=(*base, *recompressed))


def recompress_layers(layers: Sequence[Layer], context: LayerContext) -> tuple[Layer, ...]:
    """Return a system's layers in the context's compression, which for gzip are the same ones.

    Raises Negative for a damaged layer.
    """
    if context.compression == GZIP:
        return tuple(layers)
    return tuple(_recompress(layer, context) for layer in layers)


def _recompress(layer: Layer, context: LayerContext) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        stream = inflate_file(context.store.blob(layer))
        try:
            written = compress_other(stream, file.write, context.compression)
        except (zlib.error, EOFError) as error:
            raise _damaged_layer(layer) from error
        if written.diff_id != layer.diff_id:
            raise _damaged_layer(layer)
        return written

    key = system_layer_key(layer.diff_id, context.compression)
    return find_layer(context.store, key) or make_layer(
        context.store, key, write, context.log, description="system"
    )


def interpreter_digest(blobs: Iterable[Path]) -> str:
    """Return one sha256 for the Pythons in these gzip layers, lowest first.

    Systems with the same Python have the same digest. Without a Python it is that of the layers.
    """
    digests: dict[str, str] = {}
    is_linked = False
    names = []
    for blob in blobs:
        names.append(blob.name)
        for path, digest, links in _interpreter_files(blob):
            digests[path] = digest
            is_linked = is_linked or links
    # A library that no program is linked with comes with the headers, and compiles nothing.
    lines = [
        f"{path} {digest}"
        for path, digest in sorted(digests.items())
        if is_linked or not _LIBRARY.fullmatch(path)
    ]
    has_program = any(map(_PROGRAM.fullmatch, digests))
    return hash_texts(lines if has_program else names)


def _interpreter_files(blob: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield path and sha256 of a Python's files, and whether one is linked with libpython."""
    archive: Any = tarfile.open(blob, mode="r:gz")  # noqa: SIM115 - closed below
    with archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if not member.isfile():
                continue
            if _PROGRAM.fullmatch(path):
                content = archive.extractfile(member).read()
                yield path, sha256(content).hexdigest(), _LINKED in content
            elif _LIBRARY.fullmatch(path) or _COMPILER.fullmatch(path):
                yield path, file_digest(archive.extractfile(member), "sha256").hexdigest(), False


def _read_manifest(layout: Path) -> dict[str, Any]:
    """Return the layout's one manifest, also if it is behind several indexes."""
    content: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    while "manifests" in content:
        content = _read_blob(layout, content["manifests"][0]["digest"])
    return content


def _read_blob(layout: Path, digest: str) -> dict[str, Any]:
    content = _blob(layout, digest).read_bytes()
    if f"sha256:{sha256(content).hexdigest()}" != digest:
        raise _damaged_build(digest)
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def _parse_config(config: Mapping[str, Any]) -> ImageConfig:
    """Return the `config` object of an OCI image config as an ImageConfig."""
    return ImageConfig(
        env=tuple(config.get("Env") or ()),
        labels=dict(config.get("Labels") or {}),
        workdir=str(config.get("WorkingDir") or "").removesuffix("/"),
        user=str(config.get("User") or ""),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        exposed=tuple(sorted(config.get("ExposedPorts") or ())),
        shell=tuple(config.get("Shell") or ()),
        healthcheck=dict(config.get("Healthcheck") or {}),
    )


def _damaged_build(digest: str) -> Negative:
    return Negative(f"what was built is damaged: {digest}", where=SYSTEM_STAGE)


def _damaged_layer(layer: Layer) -> Negative:
    return Negative(
        f"the store's layer {layer.digest} is damaged",
        hint="run `dlimg store verify`, then build again: it is made anew",
    )
