"""Checks of the flavour's tools, such as compilers and Jupyter."""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

OF_WORKSPACE = ("curl", "git", "less", "nano", "rsync", "sshd", "tmux")


def mismatches(expected: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Return the missing tools of the flavour."""
    flavour = expected.get("flavour", "")
    missing = []
    if flavour in ("compile", "devel", "workspace"):
        headers = Path(sysconfig.get_paths()["include"], "Python.h")
        if not (shutil.which("cc") or shutil.which("gcc")):
            missing.append(f"flavour: {flavour} promises a C compiler, and none is on the PATH")
        if not headers.exists():
            missing.append(f"flavour: {flavour} promises Python's headers, but no {headers}")
    if flavour == "workspace":
        if "jupyterlab" not in installed:
            missing.append("flavour: workspace promises jupyterlab, and it is not installed")
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        missing += [
            f"flavour: workspace promises {program}, and it is not on the PATH"
            for program in OF_WORKSPACE
            if not shutil.which(program, path=path)
        ]
    return [*missing, *compiler_mismatches(flavour, expected.get("cuda", ""), cuda_compiler())]


def compiler_mismatches(flavour: str, cuda: str, release: str) -> list[str]:
    """Return a mismatch of nvcc: devel has that of the tag's CUDA, other flavours have none."""
    if flavour == "devel" and release != cuda:
        return [f"flavour: devel promises nvcc {cuda}, and there is {release or 'none'}"]
    if flavour != "devel" and release:
        return [f"flavour: {flavour} has no nvcc, and there is {release}"]
    return []


def cuda_compiler() -> str:
    """Return the release of the nvcc on the PATH, such as `13.2`, or an empty text."""
    program = shutil.which("nvcc")
    if not program:
        return ""
    ended = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    release = re.search(r"release ([0-9]+\.[0-9]+)", ended.stdout)
    return release[1] if release else "unknown"
