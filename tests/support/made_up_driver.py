"""A made-up driver of NVIDIA's: small libraries under its names, compiled by the tests."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
CUDA = "libcuda.so.1"
MANAGEMENT = "libnvidia-ml.so.1"


def made_up_driver(folder: Path, *names: str) -> Path:
    """Return the folder with the driver's libraries, or only those of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or (CUDA, MANAGEMENT):
        library = folder / name
        # The loader knows a loaded library by this name, whatever its path is.
        options = ["-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{name}"]
        subprocess.run(["gcc", *options, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return folder


def needing(folder: Path, absent: str) -> Path:
    """Return the folder with a CUDA library that needs a library that is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.c").write_text("")
    other = folder / absent
    gcc = ["gcc", "-shared", "-fPIC", "-o"]
    subprocess.run([*gcc, str(other), f"-Wl,-soname,{absent}", str(folder / "empty.c")], check=True)
    library = [str(folder / CUDA), str(SOURCE), "-Wl,--no-as-needed", str(other)]
    subprocess.run([*gcc, *library], check=True)
    other.unlink()
    return folder
