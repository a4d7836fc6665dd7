"""A base, a system and byte code where no engine is: in a folder, by this machine's own tools.

What comes out is what an engine's come to, byte for byte: the store does not tell them apart.
"""

import gzip
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from dlimg.assembly.compile_python import (
    COMPILE_ENV,
    COMPILE_FOLDER,
    BytecodeRanges,
    Sources,
    Spool,
    compile_command,
    compiler_input,
    locate_bytecode,
)
from dlimg.assembly.system import import_layer, interpreter_digest
from dlimg.debian import bootstrap
from dlimg.debian.chroot import PATH, run_in_rootfs
from dlimg.engine import bases
from dlimg.errors import Negative
from dlimg.host.local_state import file_lock
from dlimg.host.process import run_checked
from dlimg.layer.rootfs_diff import diff_rootfs
from dlimg.layer.tar import tar_bytes, tar_parts
from dlimg.model import Base, OperatingSystem, PlannedImage
from dlimg.render.image_config import ImageConfig
from dlimg.render.system_stage import system_step
from dlimg.store.keys import Layer, hash_texts
from dlimg.store.maintenance import reading_layers
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers, load_system, packages_of_layers, save_system

# What the host lends to a step that has its network.
_NETWORK: Final = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """A root file system in a folder of its own; `tars` are the layers in it, lowest first."""

    path: Path
    tars: tuple[Path, ...]

    @property
    def beside(self) -> Path:
        """Where else files for it may lie."""
        return self.path.parent


def make_base(
    os_: OperatingSystem, store: Store, environment: Mapping[str, str], log: Callable[[str], None]
) -> Base:
    """The base that is made from the distribution's packages, kept in the store as a layer.

    Raises NoEngine when this machine cannot make it.
    """
    turn = store.path / "turns" / f"base-{os_.name}"
    with file_lock(turn, doing=f"bootstrapping {os_.name}", log=log):
        found = load_system(store, _base_source(os_)) or _bootstrapped(os_, store, environment, log)
    return bases.bootstrapped_base(os_, found.config.labels[bases.IDENTITY_LABEL])


def build_system(
    planned: PlannedImage,
    store: Store,
    *,
    secrets: Mapping[str, str],
    arguments: Mapping[str, str],
    log: Callable[[str], None],
) -> SystemLayers:
    """The system of an image, by its Dockerfile's own text; its layers are in the store.

    Raises Negative when the text fails, BadInput when it is more than one step on a base.
    """
    step = system_step(planned.image.dockerfile)
    base = load_system(store, _base_source(planned.image.cell.os))
    if base is None:
        raise Negative("its base is gone from the store", where=planned.image.cell.id)
    with _unpacked(base, store) as root:
        binds = {name: Path(name) for name in _NETWORK if Path(name).exists()}
        for number, (target, files) in enumerate(step.files.items()):
            binds[target] = folder = root.beside / f"files-{number}"
            for file in files:
                _lay(folder / file.name, file.text.encode(), file.mode)
        for name in secrets.keys() & step.secrets.keys():
            binds[f"/run/secrets/{name}"] = lent = root.beside / "secrets" / name
            _lay(lent, Path(secrets[name]).read_bytes(), step.secrets[name])
        words = [*step.shell, step.script]
        outcome = run_in_rootfs(root.path, words, network="host", binds=binds, env=arguments)
        if outcome.returncode:
            message = f"its system stage did not build:\n{outcome.tail}"
            raise Negative(message, where=planned.image.cell.id)
        tar = root.beside / "changed.tar"
        with tarfile.open(root.tars[-1]) as below, tar.open("wb") as out:
            out.writelines(diff_rootfs(root.path, below))
        layers = (*base.layers, import_layer(tar, _diff_id(tar), store, log))
    return SystemLayers(
        layers=layers,
        config=ImageConfig(shell=step.shell).on(base.config),
        interpreter=interpreter_digest(map(store.blob, layers)),
        packages=packages_of_layers(map(store.blob, layers)),
    )


def compile_in(
    system: SystemLayers, store: Store, python: str, sources: Sources, spool: Spool
) -> BytecodeRanges:
    """As `dlimg.assembly.compile_python.compile_in`, in a folder and without a network."""
    with _unpacked(system, store) as root:
        tar = root.beside / "sources.tar"
        with tar.open("wb") as out:
            out.writelines(tar_bytes(tar_parts(compiler_input(sources))))
        _extract(tar, root.path)
        outcome = run_in_rootfs(
            root.path, compile_command(python), network="none", binds={}, env=COMPILE_ENV
        )
        if outcome.returncode:
            status = outcome.returncode
            message = f"byte code could not be compiled, Python ended with {status}"
            raise Negative(f"{message}:\n{outcome.tail}")
        archive: Any = tarfile.open(fileobj=spool, mode="w:")  # noqa: SIM115 - the caller's
        archive.add(root.path / COMPILE_FOLDER / "out", arcname="out")
        archive.close()
    return locate_bytecode(spool)


def _bootstrapped(
    os_: OperatingSystem, store: Store, environment: Mapping[str, str], log: Callable[[str], None]
) -> SystemLayers:
    with tempfile.TemporaryDirectory(prefix="dlimg-base-") as name:
        tar = Path(name) / "base.tar"
        tools = bases.tools_folder(environment)
        identity = bootstrap.make_rootfs(os_, tar, tools=tools, log=log)
        layer = import_layer(tar, _diff_id(tar), store, log)
    return record_base(os_, identity, layer, store)


def record_base(os_: OperatingSystem, identity: str, layer: Layer, store: Store) -> SystemLayers:
    """The base of this one layer, which `base_for` and `build_system` find from now on."""
    config = ImageConfig(
        env=(f"PATH={PATH}",), labels=bases.base_labels(os_, identity), cmd=("bash",)
    )
    packages = packages_of_layers([store.blob(layer)])
    found = SystemLayers(layers=(layer,), config=config, interpreter="", packages=packages)
    save_system(store, _base_source(os_), found)
    return found


def _base_source(os_: OperatingSystem) -> str:
    """Under which the store remembers a base: how it is made."""
    return hash_texts(["base", os_.name, bootstrap.recipe_digest(os_)])


@contextmanager
def _unpacked(system: SystemLayers, store: Store) -> Iterator[_Root]:
    """The system as a folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dlimg-system-") as name:
        path = Path(name) / "root"
        path.mkdir()
        path.chmod(0o755)
        tars = []
        for number, layer in enumerate(system.layers):
            tars.append(Path(name) / f"{number}.tar")
            with (
                reading_layers(store, [layer]),
                gzip.open(store.blob(layer)) as packed,
                tars[-1].open("wb") as out,
            ):
                shutil.copyfileobj(packed, out)
            _extract(tars[-1], path)
        yield _Root(path=path, tars=tuple(tars))


def _extract(tar: Path, folder: Path) -> None:
    argv = ["tar", "--extract", "--preserve-permissions", "--same-owner", "--numeric-owner"]
    named = ["--xattrs", "--xattrs-include=*", "--file", str(tar), "--directory", str(folder)]
    run_checked([*argv, *named], env={"PATH": PATH, "LC_ALL": "C.UTF-8"})


def _lay(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.parent.chmod(0o755)
    path.chmod(mode)


def _diff_id(tar: Path) -> str:
    with tar.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
