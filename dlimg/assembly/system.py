"""The system stage as layers: BuildKit builds it once, and the store keeps what came out."""

import contextlib
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Final

import docker

from dlimg.assembly.docker_save import read_chunks, save_as_layout
from dlimg.assembly.wheel_to_layer import LayerContext
from dlimg.engine.client import Engine, has_containerd_store, silence
from dlimg.errors import Negative, NoEngine
from dlimg.host.local_state import file_lock
from dlimg.host.process import MISSING, stream
from dlimg.layer.compress import WrittenLayer, compress_gzip
from dlimg.model import GZIP, PlannedImage
from dlimg.render.bake import LAST_STAGE, SYSTEM_STAGE, stage_file, target_name
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.store.systems import (
    SystemLayers,
    load_system,
    packages_of_layers,
    save_system,
    system_layer_key,
    system_source,
)

# Its program, its library where the program is not all of it, and the module that compiles.
_PROGRAM: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/bin/python3\.\d+")
_LIBRARY: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/lib/(.*/)?libpython3[^/]*\.so[^/]*")
_COMPILER: Final = re.compile(
    r"(usr|usr/local|opt/python/[^/]+)/lib/python3\.\d+/(py_compile|importlib/util)\.py"
)
_LINKED: Final = b"libpython3."


def interpreter_digest(blobs: Iterable[Path]) -> str:
    """A sha256 for the Pythons in these layers, lowest first; the same for systems with the same.

    Where none is found the layers themselves are what decides.
    """
    found: dict[str, str] = {}
    linked = False
    names = []
    for blob in blobs:
        names.append(blob.name)
        for path, digest, is_linked in _interpreter_files(blob):
            found[path] = digest
            linked = linked or is_linked
    # A library that no program is linked with comes with the headers, and compiles nothing.
    decisive = {path: one for path, one in found.items() if linked or not _LIBRARY.fullmatch(path)}
    if not any(map(_PROGRAM.fullmatch, decisive)):
        return hash_texts(names)
    return _hash_parts(decisive)


def _interpreter_files(blob: Path) -> Iterator[tuple[str, str, bool]]:
    """Each part of a Python in a layer: its path, its sha256, and whether it is linked."""
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


def _hash_parts(found: Mapping[str, str]) -> str:
    return hash_texts(f"{path} {digest}" for path, digest in sorted(found.items()))


_PIECE: Final = 1 << 20
_GZIP: Final = 31  # zlib's number for a gzip header and trailer


def recompress_layers(layers: Sequence[Layer], workshop: LayerContext) -> tuple[Layer, ...]:
    """These layers of the store in the workshop's compression; the same ones where it is gzip.

    Raises Negative for one whose bytes are not what they were.
    """
    if workshop.compression == GZIP:
        return tuple(layers)
    return tuple(_recompress(layer, workshop) for layer in layers)


def recompressed_key(layer: Layer, compression: str) -> LayerKey:
    """What a layer is made from here is a tar: its diff id."""
    source = layer.diff_id.removeprefix("sha256:")
    return LayerKey(kind="system", source=source, compression=compression)


def inflated(blob: Path) -> Iterator[bytes]:
    """What a gzip file of any number of members holds, in pieces; raises zlib.error, EOFError."""
    with blob.open("rb") as file:
        yield from inflate(iter(lambda: file.read(_PIECE), b""))


def inflate(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same for a gzip file that comes in pieces."""
    inflater = zlib.decompressobj(_GZIP)
    for compressed in pieces:
        piece, text = compressed, b""
        # zlib may have taken all of a piece and still hold back what it had no room for.
        while piece or len(text) == _PIECE:
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP)
            text = inflater.decompress(piece, _PIECE)
            yield text
            piece = inflater.unused_data or inflater.unconsumed_tail
    if not inflater.eof:
        raise EOFError("it is cut off")


def _recompress(layer: Layer, workshop: LayerContext) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        blob = workshop.store.blob(layer)
        try:
            written = workshop.pack(inflated(blob), file.write)
        except (zlib.error, EOFError) as error:
            raise _damaged_layer(layer) from error
        if written.diff_id != layer.diff_id:
            raise _damaged_layer(layer)
        return written

    key = recompressed_key(layer, workshop.compression)
    words = "system"
    return find_layer(workshop.store, key) or make_layer(
        workshop.store, key, write, workshop.say, words=words
    )


def _damaged_layer(layer: Layer) -> Negative:
    return Negative(
        f"the store's layer {layer.digest} is damaged",
        hint="run `dlimg layers verify`, then build again: it is made anew",
    )


# Layers are compressed by us: how BuildKit does it is another release's affair.
_LAYOUT: Final = "type=oci,dest={},tar=false,compression=uncompressed,force-compression=true"

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemBuildTools:
    """What building a system needs: an engine, secret files by id, build arguments.

    `on_line` gets BuildKit's progress, a line of JSON at a time; `say` what a person is told.
    """

    engine: Engine
    secrets: Mapping[str, str]
    arguments: Mapping[str, str]
    on_line: OnLine
    say: Callable[[str], None]


def build_system(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    """The system of this image, from the store, or built now by an engine.

    Raises Negative when it does not build; what BuildKit said went to `on_line`.
    """
    return load_or_build_system(planned, store, lambda: _built(planned, store, tools), tools.say)


def load_or_build_system(
    planned: PlannedImage,
    store: Store,
    build: Callable[[], SystemLayers],
    say: Callable[[str], None],
) -> SystemLayers:
    """The system of this image, from the store, or what `build` comes to."""
    source = system_source(planned)
    turn = store.path / "turns" / f"system-{source}"
    with file_lock(turn, doing="building the same system", say=say):
        found = load_system(store, source)
        if found is None:
            found = build()
            save_system(store, source, found)
        return found


def _built(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    with tempfile.TemporaryDirectory(prefix="dlimg-system-") as name:
        layout = Path(name) / "layout"
        if has_containerd_store(tools.engine):
            bake_stage(planned, SYSTEM_STAGE, tools, Path(name), output=_LAYOUT.format(layout))
        else:
            _bake_and_save(planned, tools, layout)
        return _import_layout(layout, store, tools.say)


def _bake_and_save(planned: PlannedImage, tools: SystemBuildTools, layout: Path) -> None:
    """The same where the engine has no exporter for it: by way of an image with a passing name."""
    # Another dlimg, with another store, may be at the same system in the same engine.
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
    """Inside, the engine has an image of this stage under this name; raises as `bake` does."""
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
    """The stage (the last one where none is named), to this output.

    `wheels` is the folder of local wheels, where the stage takes any. Raises Negative when
    BuildKit fails, NoEngine when it cannot be started.
    """
    file = folder / "bake.json"
    file.touch(mode=0o600)
    content = stage_file(
        planned,
        stage,
        output,
        secrets=tools.secrets,
        wheels={target_name(planned.image.cell): wheels} if wheels else {},
        arguments=tools.arguments,
    )
    file.write_text(json.dumps(content), encoding="utf-8")
    readable = sorted({str(Path(path).parent) for path in tools.secrets.values()})
    argv = [
        *(str(tools.engine.docker), "buildx", "bake", "--file", str(file)),
        *("--progress", "rawjson", f"--allow=fs.write={folder}"),
        *(f"--allow=fs.read={path}" for path in readable),
        stage or LAST_STAGE,
    ]
    # buildx leaves temporary files behind when it is ended: they are to go with ours.
    environment = {**tools.engine.environment, "TMPDIR": str(folder)}
    outcome = stream(argv, on_line=tools.on_line, env=environment, cwd=folder)
    if outcome.returncode == MISSING:
        hint = "install the docker client with its buildx plugin"
        raise NoEngine(f"{tools.engine.docker} cannot be started: {outcome.stderr}", hint=hint)
    if outcome.returncode:
        reason = silence(tools.engine.environment)
        if reason:
            raise NoEngine(
                f"the container engine at {tools.engine.host} does not answer any more: {reason}",
                hint="start it again, then run this again; what was finished is kept",
            )
        what = f"its {stage} stage" if stage else "it"
        raise Negative(f"{what} did not build", where=planned.image.cell.id)


def _import_layout(layout: Path, store: Store, say: Callable[[str], None]) -> SystemLayers:
    """The image of a layout, its layers now in the store."""
    manifest = _manifest(layout)
    described = _blob_json(layout, manifest["config"]["digest"])
    diff_ids: Sequence[str] = described["rootfs"]["diff_ids"]
    layers = tuple(
        import_layer(_blob(layout, one["digest"]), diff_id, store, say)
        for one, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    )
    return SystemLayers(
        layers=layers,
        config=_parse_config(described.get("config") or {}),
        interpreter=interpreter_digest(map(store.blob, layers)),
        packages=packages_of_layers(map(store.blob, layers)),
    )


def _manifest(layout: Path) -> dict[str, Any]:
    """The one manifest of a layout, behind however many indexes."""
    content: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    while "manifests" in content:
        content = _blob_json(layout, content["manifests"][0]["digest"])
    return content


def import_layer(tar: Path, diff_id: str, store: Store, say: Callable[[str], None]) -> Layer:
    """The layer of this tar, now in the store; raises Negative when that is not its sha256."""

    def write(file: IO[bytes]) -> WrittenLayer:
        written = compress_gzip(read_chunks(tar), file.write)
        if written.diff_id != diff_id:
            raise _damaged(diff_id)
        return written

    key = system_layer_key(diff_id)
    return find_layer(store, key) or make_layer(store, key, write, say, words="system")


def _damaged(digest: str) -> Negative:
    return Negative(f"what was built is damaged: {digest}", where=SYSTEM_STAGE)


def _parse_config(said: Mapping[str, Any]) -> ImageConfig:
    """What an image's config says, in our names."""
    return ImageConfig(
        env=tuple(said.get("Env") or ()),
        labels=dict(said.get("Labels") or {}),
        workdir=str(said.get("WorkingDir") or "").removesuffix("/"),
        user=str(said.get("User") or ""),
        entrypoint=tuple(said.get("Entrypoint") or ()),
        cmd=tuple(said.get("Cmd") or ()),
        exposed=tuple(sorted(said.get("ExposedPorts") or ())),
        shell=tuple(said.get("Shell") or ()),
        healthcheck=dict(said.get("Healthcheck") or {}),
    )


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def _blob_json(layout: Path, digest: str) -> dict[str, Any]:
    content = _blob(layout, digest).read_bytes()
    if f"sha256:{sha256(content).hexdigest()}" != digest:
        raise _damaged(digest)
    found: dict[str, Any] = json.loads(content)
    return found
