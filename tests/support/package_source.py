"""A signed source of Debian packages on loopback, with stand-ins for NVIDIA's packages."""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.http_server import served

DRIVER = "580.95.05"
SMI = f"""\
#!/bin/sh
echo '7.5, {DRIVER}, Stand-in T4'
"""
# Writes what the real one writes: a setting of the engine, and a CDI file.
CTK = """\
#!/bin/sh
case $1 in
--version) echo 'NVIDIA Container Toolkit CLI version 1.18.0' ;;
runtime)
    mkdir -p /etc/docker
    path=/usr/bin/nvidia-container-runtime
    echo "{\\"runtimes\\": {\\"nvidia\\": {\\"path\\": \\"$path\\"}}}" >/etc/docker/daemon.json ;;
cdi)
    file=${3#--output=}
    mkdir -p "${file%/*}"
    cat >"$file" <<'END'
cdiVersion: 0.6.0
kind: nvidia.com/gpu
devices:
- name: all
  containerEdits:
    mounts:
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, bind]
END
    ;;
esac
"""


class SignedSource:
    """A folder that is served as a source; each sub-folder is a flat one with its own key."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self._keys = folder / "gnupg"
        self._keys.mkdir(mode=0o700)
        self._gpg("--quick-gen-key", "stand-in", "ed25519", "sign", "never")

    def _gpg(self, *arguments: str) -> str:
        argv = ["gpg", "--homedir", str(self._keys), "--batch", "--yes", "--passphrase", ""]
        done = subprocess.run([*argv, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    @property
    def key(self) -> str:
        return self._gpg("--armor", "--export")

    def add(self, place: str, name: str, files: Mapping[str, str], version: str = "1.1-1") -> Path:
        """Build a package and put it into a sub-folder."""
        tree = self.folder / "build" / f"{name}-{version}"
        for path, text in files.items():
            file = tree / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        control = tree / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: nobody <nobody@example.com>\nDescription: a stand-in\n"
        )
        target = self.folder / place / f"{name}_{version}_all.deb"
        target.parent.mkdir(parents=True, exist_ok=True)
        argv = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(target)]
        subprocess.run(argv, check=True, capture_output=True)
        return target

    def sign(self, place: str) -> None:
        """Write the index of a sub-folder, and its signature."""
        folder = self.folder / place
        packages = ""
        for deb in sorted(folder.glob("*.deb")):
            argv = ["dpkg-deb", "--field", str(deb)]
            fields = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            size = deb.stat().st_size
            packages += f"{fields}Filename: ./{deb.name}\nSize: {size}\nSHA256: {digest}\n\n"
        (folder / "Packages").write_text(packages)
        digest, size = hashlib.sha256(packages.encode()).hexdigest(), len(packages.encode())
        release = (
            f"Date: Sun, 29 Nov 2026 00:00:00 UTC\nSuite: ./\nSHA256:\n {digest} {size} Packages\n"
        )
        (folder / "Release").write_text(release)
        self._gpg("--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))


@contextlib.contextmanager
def nvidia_stand_ins(folder: Path, system: str) -> Iterator[SignedSource]:
    """The sources of drivers and toolkit, as `DLIMG_NVIDIA_SOURCES` names them."""
    folder.mkdir()

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_words: object) -> None:
            """Keep the test's output for the test."""

    with served(Files) as address:
        source = SignedSource(folder, address)
        _fill(source, f"drivers/{system}/x86_64")
        yield source


def _fill(source: SignedSource, drivers: str) -> None:
    key = "/usr/share/keyrings/cuda-archive-keyring.asc"
    line = f"deb [signed-by={key}] {source.address}/{drivers} /\n"
    source.add(
        drivers, "cuda-keyring", {key: source.key, "/etc/apt/sources.list.d/cuda.list": line}
    )
    source.add(drivers, f"linux-headers-{os.uname().release}", {"/usr/src/stand-in": "headers\n"})
    pin = "Package: nvidia-open\nPin: version 580.*\nPin-Priority: 1000\n"
    source.add(drivers, "nvidia-driver-pinning-580", {"/etc/apt/preferences.d/nvidia": pin})
    # Without the pin, apt would take the newer branch.
    source.add(drivers, "nvidia-open", {"/usr/bin/nvidia-smi": SMI}, version=f"{DRIVER}-1")
    source.add(drivers, "nvidia-open", {"/usr/bin/nvidia-smi": "exit 9\n"}, version="610.1.1-1")
    source.sign(drivers)
    toolkit = "toolkit/stable/deb/amd64"
    source.add(toolkit, "nvidia-container-toolkit", {"/usr/bin/nvidia-ctk": CTK})
    source.sign(toolkit)
    (source.folder / "toolkit/gpgkey").write_text(source.key)
