"""Bases, system stages and byte code without an engine, made in folders by tools of this host.

The results have the same bytes as those of an engine, so the store holds both alike.
"""

import gzip
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
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
from dlimg.context import Context, Log
from dlimg.debian import bootstrap
from dlimg.debian.chroot import PATH, run_in_rootfs
from dlimg.engine import bases
from dlimg.errors import Negative
from dlimg.host.file_lock import file_lock
from dlimg.host.process import run_checked
from dlimg.host.secret_folder import secret_folder
from dlimg.layer.rootfs_diff import diff_rootfs
from dlimg.layer.tar import tar_bytes, tar_parts
from dlimg.model import Base, OperatingSystem, PlannedImage
from dlimg.render.image_config import ImageConfig
from dlimg.render.system_stage import SystemStep, parse_system_step
from dlimg.store.keys import Layer, hash_texts
from dlimg.store.maintenance import reading_layers
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers, load_system, packages_of_layers, save_system

# Files of the host that a step with its network reads.
_NETWORK: Final = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnpackedSystem:
    """A root file system in a folder, with its layers as tar files, lowest first."""

    root: Path
    tars: tuple[Path, ...]

    @property
    def work_folder(self) -> Path:
        """A folder outside of the root, for temporary files."""
        return self.root.parent


def make_base(os_: OperatingSystem, store: Store, context: Context) -> Base:
    """Return the bootstrapped base of a system, from the store or made now.

    Raises NoEngine when this host cannot make it.
    """
    turn = store.path / "turns" / f"base-{os_.name}"
    with file_lock(turn, doing=f"bootstrapping {os_.name}", log=context.log):
        base = load_system(store, _base_source(os_)) or _bootstrap(os_, store, context)
    return bases.bootstrapped_base(os_, base.config.labels[bases.IDENTITY_LABEL])


def build_system(
    planned: PlannedImage,
    store: Store,
    *,
    secrets: Mapping[str, str],
    arguments: Mapping[str, str],
    log: Log,
) -> SystemLayers:
    """Run the system stage of an image's Dockerfile and put its layers into the store.

    Raises Negative when a command fails, BadInput when the stage is not one step on a base.
    """
    step = parse_system_step(planned.image.dockerfile)
    base = load_system(store, _base_source(planned.image.cell.os))
    if base is None:
        raise Negative(
            "its base is no longer in the store",
            where=planned.image.cell.id,
            hint="build again, which bootstraps the base again",
        )
    with _unpacked(base, store) as system, secret_folder() as private:
        binds = _step_files(step, system.work_folder) | _secret_files(step, secrets, private)
        command = [*step.shell, step.script]
        completed = run_in_rootfs(system.root, command, network="host", binds=binds, env=arguments)
        if completed.returncode:
            message = f"its system stage did not build:\n{completed.tail}"
            raise Negative(message, where=planned.image.cell.id)
        tar = system.work_folder / "changed.tar"
        with tarfile.open(system.tars[-1]) as below, tar.open("wb") as out:
            out.writelines(diff_rootfs(system.root, below))
        layers = (*base.layers, import_layer(tar, _diff_id(tar), store, log))
    return SystemLayers(
        layers=layers,
        config=ImageConfig(shell=step.shell).on(base.config),
        interpreter=interpreter_digest(map(store.blob, layers)),
        packages=packages_of_layers(map(store.blob, layers)),
    )


def _step_files(step: SystemStep, folder: Path) -> dict[str, Path]:
    """Write the files that the step mounts; return them by their paths in the step."""
    binds = {name: Path(name) for name in _NETWORK if Path(name).exists()}
    for number, (target, files) in enumerate(step.files.items()):
        binds[target] = folder / f"files-{number}"
        for file in files:
            _write_file(binds[target] / file.name, file.text.encode(), file.mode)
    return binds


def _secret_files(step: SystemStep, secrets: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Copy the secrets that the step mounts; return the copies by their paths in the step."""
    binds = {}
    for name in secrets.keys() & step.secrets.keys():
        binds[f"/run/secrets/{name}"] = copy = folder / "secrets" / name
        _write_file(copy, Path(secrets[name]).read_bytes(), step.secrets[name])
    return binds


def compile_in(
    system_layers: SystemLayers, store: Store, python: str, sources: Sources, spool: Spool
) -> BytecodeRanges:
    """Compile Python files as `compile_python.compile_in` does, in a folder without network."""
    with _unpacked(system_layers, store) as system:
        tar = system.work_folder / "sources.tar"
        with tar.open("wb") as out:
            out.writelines(tar_bytes(tar_parts(compiler_input(sources))))
        _extract(tar, system.root)
        completed = run_in_rootfs(
            system.root, compile_command(python), network="none", binds={}, env=COMPILE_ENV
        )
        if completed.returncode:
            status = completed.returncode
            message = f"byte code could not be compiled, Python ended with {status}"
            raise Negative(f"{message}:\n{completed.tail}")
        archive: Any = tarfile.open(fileobj=spool, mode="w:")  # noqa: SIM115 - the caller's
        archive.add(system.root / COMPILE_FOLDER / "out", arcname="out")
        archive.close()
    return locate_bytecode(spool)


def _bootstrap(os_: OperatingSystem, store: Store, context: Context) -> SystemLayers:
    with tempfile.TemporaryDirectory(prefix="dlimg-base-") as name:
        tar = Path(name) / "base.tar"
        tools = bases.tools_folder(context)
        identity = bootstrap.make_rootfs(os_, tar, tools=tools, log=context.log)
        layer = import_layer(tar, _diff_id(tar), store, context.log)
    return record_base(os_, identity, layer, store)


def record_base(os_: OperatingSystem, identity: str, layer: Layer, store: Store) -> SystemLayers:
    """Record a base that is one layer, so that `make_base` and `build_system` find it."""
    config = ImageConfig(
        env=(f"PATH={PATH}",), labels=bases.base_labels(os_, identity), cmd=("bash",)
    )
    packages = packages_of_layers([store.blob(layer)])
    base = SystemLayers(layers=(layer,), config=config, interpreter="", packages=packages)
    save_system(store, _base_source(os_), base)
    return base


def _base_source(os_: OperatingSystem) -> str:
    """Return the store's key of a base: a hash of how it is made."""
    return hash_texts(["base", os_.name, bootstrap.recipe_digest(os_)])


@contextmanager
def _unpacked(system: SystemLayers, store: Store) -> Iterator[_UnpackedSystem]:
    """Unpack a system into a temporary folder."""
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
        yield _UnpackedSystem(root=path, tars=tuple(tars))


def _extract(tar: Path, folder: Path) -> None:
    argv = ["tar", "--extract", "--preserve-permissions", "--same-owner", "--numeric-owner"]
    paths = ["--xattrs", "--xattrs-include=*", "--file", str(tar), "--directory", str(folder)]
    run_checked([*argv, *paths], env={"PATH": PATH, "LC_ALL": "C.UTF-8"})


def _write_file(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.parent.chmod(0o755)
    path.chmod(mode)


def _diff_id(tar: Path) -> str:
    with tar.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
