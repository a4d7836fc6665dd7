"""The system stage as layers: BuildKit builds it once, and the store keeps what came out."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Final

import docker

from dlimg.assembly.docker_save import saved, whole
from dlimg.assembly.interpreter import interpreter_of
from dlimg.engine.client import Engine, has_containerd_store, silence
from dlimg.errors import Negative, NoEngine
from dlimg.host.local_state import file_lock
from dlimg.host.process import MISSING, stream
from dlimg.layer.gzip import WrittenLayer, compress
from dlimg.model import PlannedImage
from dlimg.render.bake import LAST_STAGE, SYSTEM_STAGE, stage_file, target_name
from dlimg.render.config_parser import ImageConfig
from dlimg.store.keys import Layer
from dlimg.store.store import Store, find, make
from dlimg.store.system_packages import packages_in
from dlimg.store.systems import SystemLayers, kept, key_of, remember, system_source

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


def system(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    """The system of this image, from the store, or built now by an engine.

    Raises Negative when it does not build; what BuildKit said went to `on_line`.
    """
    return system_by(planned, store, lambda: _built(planned, store, tools), tools.say)


def system_by(
    planned: PlannedImage,
    store: Store,
    build: Callable[[], SystemLayers],
    say: Callable[[str], None],
) -> SystemLayers:
    """The system of this image, from the store, or what `build` comes to."""
    source = system_source(planned)
    turn = store.path / "turns" / f"system-{source}"
    with file_lock(turn, doing="building the same system", say=say):
        found = kept(store, source)
        if found is None:
            found = build()
            remember(store, source, found)
        return found


def _built(planned: PlannedImage, store: Store, tools: SystemBuildTools) -> SystemLayers:
    with tempfile.TemporaryDirectory(prefix="dlimg-system-") as name:
        layout = Path(name) / "layout"
        if has_containerd_store(tools.engine):
            bake(planned, SYSTEM_STAGE, tools, Path(name), output=_LAYOUT.format(layout))
        else:
            _bake_and_save(planned, tools, layout)
        return _taken(layout, store, tools.say)


def _bake_and_save(planned: PlannedImage, tools: SystemBuildTools, layout: Path) -> None:
    """The same where the engine has no exporter for it: by way of an image with a passing name."""
    # Another dlimg, with another store, may be at the same system in the same engine.
    name = f"dlimg-system:{system_source(planned)[:12]}-{token_hex(4)}"
    with passing_image(planned, SYSTEM_STAGE, tools, layout.parent, name=name):
        saved(tools.engine, name, layout)


@contextlib.contextmanager
def passing_image(
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
        bake(planned, stage, tools, folder, output=f"type=docker,name={name}", wheels=wheels)
        yield
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            tools.engine.sdk.images.remove(name)


def bake(
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


def _taken(layout: Path, store: Store, say: Callable[[str], None]) -> SystemLayers:
    """The image of a layout, its layers now in the store."""
    manifest = _manifest(layout)
    described = _blob_json(layout, manifest["config"]["digest"])
    diff_ids: Sequence[str] = described["rootfs"]["diff_ids"]
    layers = tuple(
        take(_blob(layout, one["digest"]), diff_id, store, say)
        for one, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    )
    return SystemLayers(
        layers=layers,
        config=_config(described.get("config") or {}),
        interpreter=interpreter_of(map(store.blob, layers)),
        packages=packages_in(map(store.blob, layers)),
    )


def _manifest(layout: Path) -> dict[str, Any]:
    """The one manifest of a layout, behind however many indexes."""
    content: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    while "manifests" in content:
        content = _blob_json(layout, content["manifests"][0]["digest"])
    return content


def take(tar: Path, diff_id: str, store: Store, say: Callable[[str], None]) -> Layer:
    """The layer of this tar, now in the store; raises Negative when that is not its sha256."""

    def write(file: IO[bytes]) -> WrittenLayer:
        written = compress(whole(tar), file.write)
        if written.diff_id != diff_id:
            raise _damaged(diff_id)
        return written

    key = key_of(diff_id)
    return find(store, key) or make(store, key, write, say, words="system")


def _damaged(digest: str) -> Negative:
    return Negative(f"what was built is damaged: {digest}", where=SYSTEM_STAGE)


def _config(said: Mapping[str, Any]) -> ImageConfig:
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
