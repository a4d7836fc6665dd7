"""Files that maintainer scripts and builders of base images write: a closed list.

A file with a known origin (a copy of a package's file, a fixed text) is compared with that.
"""

import re

from _claims import Claims, Image, copy, empty, file, folder, lines, link

BASE = "usr/share/base-files"
COPIES = {
    "etc/profile": (f"{BASE}/profile",),
    "etc/motd": (f"{BASE}/motd",),
    "root/.bashrc": (f"{BASE}/dot.bashrc", "etc/skel/.bashrc"),
    "root/.profile": (f"{BASE}/dot.profile",),
    "etc/inputrc": ("usr/share/readline/inputrc",),
    "etc/nsswitch.conf": ("usr/share/libc-bin/nsswitch.conf", f"{BASE}/nsswitch.conf"),
    "usr/share/info/dir": (f"{BASE}/info.dir",),
}
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Lines that files may have, as patterns.
LINES = {
    "etc/environment": rf'PATH="{PATHS}(:/usr/games:/usr/local/games)?(:/snap/bin)?"',
    "etc/fstab": "-",
    "etc/hosts.allow": "-",
    "etc/hosts.deny": "-",
    "etc/networks": r"default\s+0\.0\.0\.0|loopback\s+127\.0\.0\.0|link-local\s+169\.254\.0\.0",
    "etc/cloud/build.info": r"(build_name|serial): [\w.-]+",
    "etc/timezone": r"(Etc/)?UTC",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap": (
        "force-unsafe-io|path-exclude=/usr/share/(man|info|locale|lintian|doc)/[*]"
        "|path-include=/usr/share/doc/[*]/copyright"
    ),
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io",
    "etc/dpkg/dpkg.cfg.d/docker": (
        "path-(exclude|include)[ =]/usr/share/(man|info|locale|lintian|linda|groff|doc|doc-base)/.*"
    ),
    "etc/dpkg/dpkg.cfg.d/excludes": (
        "path-(exclude|include)[ =]/usr/share/(man|info|locale|lintian|linda|groff|doc|doc-base)/.*"
    ),
}
# Programs of bases from a registry: no services while packages are installed, and no manuals.
PROGRAMS = {
    "usr/sbin/policy-rc.d": "exit 101",
    "usr/sbin/initctl": "exit 0",
    "usr/bin/man": r"""echo "[A-Za-z' ,.-]*\"""",
}
EMPTY = {
    "etc/security/opasswd": 0o600,
    "var/cache/apt/archives/lock": 0o640,
    "var/lib/apt/lists/lock": 0o640,
    "etc/machine-id": 0o444,
}
# What an engine puts something else over, or makes itself.
ENGINE = ("etc/hostname", "etc/hosts", "etc/resolv.conf", ".dockerenv", "run/.containerenv")
LINKS = {
    "etc/localtime": ("/usr/share/zoneinfo/Etc/UTC", "/usr/share/zoneinfo/UTC"),
    "etc/mtab": ("/proc/mounts", "../proc/self/mounts"),
    "etc/dpkg/origins/default": ("debian", "ubuntu"),
    "usr/local/man": ("share/man",),
    "var/spool/mail": ("../mail",),
    "var/lib/wtmpdb/wtmp.db": ("../../log/wtmp.db",),
    "var/lock": ("/run/lock",),
    "var/run": ("/run",),
    **{name: (f"usr/{name}",) for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")},
}
FOLDERS = (
    *(
        "boot",
        "home",
        "media",
        "mnt",
        "opt",
        "srv",
        "etc/cloud",
        "etc/opt",
        "var/opt",
        "etc/python3",
    ),
    *("etc/runit/runsvdir/default", "var/lib/wtmpdb"),
    *("usr/local", "usr/lib32", "usr/lib64", "usr/libx32", "var/lib/python"),
    *(
        f"usr/local/{name}"
        for name in ("bin", "etc", "games", "include", "lib", "libexec", "sbin", "share", "src")
    ),
    *("usr/local/share/ca-certificates", "usr/local/share/man", "usr/local/share/fonts"),
    *(*("dev", "proc", "sys", "run", "tmp"), "run/mount", "run/systemd"),
)
STAFF, MAIL = 50, 8
MODES = {
    "tmp": (0o1777, (0, 0)),
    "run/lock": (0o1777, (0, 0)),
    "var/mail": (0o2775, (0, MAIL)),
}
PYTHON_FOLDER = re.compile(r"usr/local/lib/python3(\.[0-9]+)?(/dist-packages)?")
CACHES = re.compile(r"usr/lib/.*/gconv/gconv-modules\.cache|usr/lib/locale/locale-archive")


def claims(image: Image) -> Claims:
    """Return the claims of the closed list."""
    by_path: Claims = {path: copy(image, path, *sources) for path, sources in COPIES.items()}
    by_path |= {path: lines(image, path, allowed) for path, allowed in LINES.items()}
    by_path |= {path: empty(mode) for path, mode in EMPTY.items()}
    by_path |= {path: empty(0o644, 0o755) for path in ENGINE}
    by_path |= {path: link(*targets) for path, targets in LINKS.items()}
    by_path |= {path: folder() for path in FOLDERS}
    by_path |= {path: folder(mode, owner) for path, (mode, owner) in MODES.items()}
    for path, allowed in PROGRAMS.items():
        by_path[path] = lines(image, path, allowed, modes=(0o755,))
    for path in image.tree.entries:
        if PYTHON_FOLDER.fullmatch(path):
            by_path[path] = folder()
        elif CACHES.fullmatch(path):
            by_path[path] = file()
    return by_path
