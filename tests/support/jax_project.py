"""A small project: JAX for CPU, of whose two cells the locks are those of this project."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELL = "jax-0.12.0.1-cpu-py3.13-debian13"
OTHER = "jax-0.12.0.1-cpu-py3.12-debian13"
MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu]
      python: ["3.12", "3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["jax=={version}"]
"""


def write_project(folder: Path, *locked: str) -> None:
    """Write the project into this folder, with these locks."""
    (folder / "matrix.yaml").write_text(MATRIX)
    (folder / "images").symlink_to(ROOT / "images")
    (folder / "locks").mkdir()
    for cell in locked:
        name = f"{cell}.json"
        (folder / "locks" / name).write_text((ROOT / "locks" / name).read_text())


def enter_project(folder: Path, monkeypatch: pytest.MonkeyPatch, *locked: str) -> None:
    """Make the project in this folder the current one, with these locks and an empty cache."""
    write_project(folder, *locked)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
