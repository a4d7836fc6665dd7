"""The time of building forty small images, and of building them again with nothing changed.

`python bench/no_change.py` needs an engine (or starts dlimg's own) and an index for pip's wheel.
The images are real: forty cells of one family, each with a wheel that is made here; they are
removed afterwards.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

from dlimg.context import Context
from dlimg.engine.discover import find_engine

ROOT = Path(__file__).parent.parent
VERSIONS = 20
ROUNDS = 5
MATRIX = """\
registry: bench.invalid/forty
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
families:
  small:
    framework: none
    axes:
      version: [%s]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime, compile]
    packages:
      cpu: ["made-up=={version}+local"]
groups:
  default: [{family: small}]
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dlimg-bench-") as name:
        folder = Path(name)
        make_project(folder)
        environment = {**os.environ, "UV_FIND_LINKS": str(folder / "wheels")}
        run_dlimg(folder, environment, "lock")
        try:
            images, first = time_build(folder, environment)
            again = [time_build(folder, environment)[1] for _ in range(ROUNDS)]
        finally:
            remove_images(environment)
    print(f"{images} images: built in {first:.1f} s, again in {statistics.median(again):.2f} s")


def make_project(folder: Path) -> None:
    versions = [f"1.{number}" for number in range(VERSIONS)]
    (folder / "matrix.yaml").write_text(MATRIX % ", ".join(f'"{version}"' for version in versions))
    (folder / "wheels").mkdir()
    for version in versions:
        make_wheel(folder / "wheels", f"{version}+local")
    images = folder / "images"
    (images / "small").mkdir(parents=True)
    (images / "_layout").symlink_to(ROOT / "images/_layout")
    (images / "common").symlink_to(ROOT / "images/common")
    template = (ROOT / "images/jax/Dockerfile.j2").read_text()
    (images / "small/checks").symlink_to(ROOT / "images/jax/checks")
    (images / "small/Dockerfile.j2").write_text(template)


def make_wheel(folder: Path, version: str) -> None:
    """Write a wheel with a local version, because only such wheels come from folders."""
    about = f"made_up-{version}.dist-info"
    files = {
        "made_up.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: made-up\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*lines, f"{about}/RECORD,,\n"])
    with zipfile.ZipFile(folder / f"made_up-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)


def digest(text: str) -> str:
    """Return the sha256 as RECORD spells it: urlsafe base64 without padding."""
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def run_dlimg(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run a command and return its output; its messages go to the terminal."""
    argv = [sys.executable, "-m", "dlimg", "--matrix", str(folder / "matrix.yaml"), *arguments]
    result = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {result.returncode}")
    return result.stdout


def time_build(folder: Path, environment: dict[str, str]) -> tuple[int, float]:
    """Build all images; return their number and the wall seconds."""
    began = time.monotonic()
    lines = json.loads(run_dlimg(folder, environment, "build", "--format", "json"))
    return len(lines), time.monotonic() - began


def remove_images(environment: dict[str, str]) -> None:
    """Remove the images of this benchmark, which have names of their own."""
    found = find_engine(Context.of(environment, lambda _: None), private="allow").sdk
    for image in found.images.list("bench.invalid/forty/small"):
        found.images.remove(str(image.id), force=True)


if __name__ == "__main__":
    main()
