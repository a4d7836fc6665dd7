"""Paired packages (torchvision, jaxlib): installed, importable, of the locked version."""

from collections.abc import Mapping
from importlib import import_module, metadata


def named(text: str) -> dict[str, str]:
    """Return `torchvision==0.30.0 numpy==2.5.5` as versions by name."""
    return {name: version for name, _, version in (pair.partition("==") for pair in text.split())}


def imported(paired_packages: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the `__version__` of each paired package's module, and the failed imports.

    One that brings no module of its own name (CUDA's compiler does not) is not imported.
    """
    versions, broken = {}, []
    for name in paired_packages:
        module = name.replace("-", "_")
        if not brings(name, module):
            continue
        try:
            versions[name] = str(getattr(import_module(module), "__version__", ""))
        except Exception as error:  # noqa: BLE001 -- what a broken one raises is its own affair
            broken.append(f"paired packages: {name} cannot be imported: {error!r}")
    return versions, broken


def brings(name: str, module: str) -> bool:
    """Return whether the package's RECORD has this module."""
    try:
        record = metadata.distribution(name).read_text("RECORD") or ""
    except metadata.PackageNotFoundError:
        return False
    starts = (f"{module}/__init__.", f"{module}.py,", f'"{module}/__init__.')
    return any(line.startswith(starts) for line in record.splitlines())


def mismatches(
    paired_packages: Mapping[str, str], installed: Mapping[str, str], versions: Mapping[str, str]
) -> list[str]:
    """Return where a paired package differs from the lock, as a package or as a module.

    A module may add a local part (`0.28.0+cu130`) to the package's version.
    """
    wrong = [
        f"paired packages: {name} {version} is promised, installed is {installed.get(name, 'none')}"
        for name, version in paired_packages.items()
        if installed.get(name) != version
    ]
    for name, version in versions.items():
        promised = paired_packages[name]
        if version and version != promised and version.partition("+")[0] != promised:
            wrong.append(f"paired packages: {name} {promised} is promised, imported is {version}")
    return wrong
