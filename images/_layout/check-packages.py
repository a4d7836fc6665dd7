"""Every wheel of the image is installed in its locked version, and no other framework hides it."""

import re
import sys
from importlib import metadata

LIBRARY = "/opt/env/lib/python/site-packages"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: str) -> dict[str, str]:
    """Return versions by package, of lines such as `six==1.17.0 --hash=...`."""
    with open(path, encoding="utf-8") as file:
        rows = (line.split()[0].partition("==") for line in file if "==" in line)
        return {normal(name): version for name, _, version in rows}


def installed(path: list[str]) -> dict[str, str]:
    """Return versions by package, of the first folder that has it."""
    versions: dict[str, str] = {}
    for package in metadata.distributions(path=path):
        versions.setdefault(normal(package.metadata["Name"]), package.version)
    return versions


def main() -> None:
    locked = pins("/etc/dlimg/requirements.txt")
    image, session = installed([LIBRARY]), installed(sys.path)
    faults = [
        f"{name} {version} is locked, and {image.get(name, 'no version')} is installed"
        for name, version in locked.items()
        if image.get(name) != version
    ]
    faults += [
        f"{name} {session[name]} of yours takes the place of {version}"
        for name, version in pins("/etc/dlimg/constraints.txt").items()
        if session.get(name, version) != version
    ]
    if faults:
        sys.exit("; ".join(faults))
    print(f"{len(locked)} packages as locked, {len(session)} in this session")


if __name__ == "__main__":
    main()
