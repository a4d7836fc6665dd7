"""Where every path of an image comes from, on made-up trees: sources, mounts, and lies."""

import base64
import hashlib
import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from dlimg.render.dockerfile import load_templates
from dlimg.render.layout import cell_files, layout_files
from dlimg.render.layout_tree import layout_tree, tree_text
from tests.support import samples
from tests.support.check_scripts import FAILED, IMAGES, NOT_RUN, code_of
from tests.support.image_folders import files_in

alternatives = importlib.import_module("_alternatives")
apt = importlib.import_module("_apt")
claims = importlib.import_module("_claims")
dpkg = importlib.import_module("_dpkg")
environment = importlib.import_module("_environment")
loader = importlib.import_module("_loader")
tree = importlib.import_module("_tree")
sources = importlib.import_module("every_file_has_a_source")
excuses = importlib.import_module("_excuses")

SAID = {"user": "user", "uid": "1000", "gid": "100", "home": "/home/user"}
USER = "user:x:1000:100::/home/user:/bin/bash\n"
MASTER = "usr/share/base-passwd"
INFO = "var/lib/dpkg/info"
LIBRARY = "usr/lib/x86_64-linux-gnu"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
PYTHON = "opt/python/cpython-3.12.16-linux-x86_64-gnu"
ENTRY = "#!/bin/sh\n"
SHA256 = hashlib.sha256(b"x = 1\n").digest()
DIGEST = "sha256=" + base64.urlsafe_b64encode(SHA256).decode().rstrip("=")
PACKAGED = {
    f"{MASTER}/passwd.master": "root:*:0:0:root:/root:/bin/bash\n",
    f"{MASTER}/group.master": "root:*:0:\nusers:*:100:\n",
    "etc/skel/.profile": "umask 22\n",
    "usr/share/base-files/profile": "PATH=/bin\n",
    "usr/share/ca-certificates/mozilla/A.crt": CERTIFICATE,
    "usr/share/keyrings/debian.gpg": "key",
    "usr/lib/os-release": "VERSION_CODENAME=trixie\n",
    "usr/bin/mawk": "awk",
    f"{LIBRARY}/libz.so.1": "z",
    "usr/lib/python3/tool.py": "x = 1\n",
    "usr/lib/systemd/system/ssh.service": (
        "[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n"
    ),
    "usr/share/openssh/sshd_config": "Port 22\n",
    "etc/sv/ssh/run": "exec sshd\n",
    "usr/bin/tmux": "tmux",
}
DEBIAN = (
    "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie trixie-updates\n"
    "Components: main\nSigned-By: /usr/share/keyrings/debian.gpg\n"
)
WRITTEN = {
    "etc/passwd": f"root:x:0:0:root:/root:/bin/bash\n{USER}",
    "etc/group": "root:x:0:\nusers:x:100:\n",
    "etc/subuid": "user:100000:65536\n",
    "etc/profile": "PATH=/bin\n",
    "etc/apt/sources.list.d/debian.sources": DEBIAN,
    "etc/apt/apt.conf.d/docker-clean": (
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb '
        '/var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };\n'
        'Dir::Cache::pkgcache "";\n'
    ),
    "etc/ca-certificates.conf": "# all\nmozilla/A.crt\n",
    "etc/ssl/certs/ca-certificates.crt": CERTIFICATE,
    "etc/ld.so.conf.d/x.conf": f"/{LIBRARY}\n",
    "var/lib/dpkg/alternatives/awk": "auto\n/usr/bin/awk\n\n/usr/bin/mawk\n5\n\n",
    "var/lib/dpkg/status": "Package: tool\nStatus: install ok installed\n\n",
    f"{INFO}/tool.postinst": "#!/bin/sh\n    add-shell /usr/bin/tmux\n",
    "etc/shells": "# of packages\n/usr/bin/tmux\n",
    "etc/ssh/sshd_config": "Port 22\n",
    "var/lib/ucf/cache/:etc:ssh:sshd_config": "Port 22\n",
    "var/lib/ucf/registry": "tool \t /etc/ssh/sshd_config\n",
    "var/lib/ucf/hashfile": f"{'0' * 32}  /etc/ssh/sshd_config\n",
    "home/user/.profile": "umask 22\n",
    "usr/local/bin/dlimg-entrypoint": ENTRY,
    "opt/env/lib/python/site-packages/six.py": "x = 1\n",
    "opt/env/lib/python/site-packages/six-1.17.0.dist-info/RECORD": (
        "six.py,,\n../../../bin/six,,\nsix-1.17.0.dist-info/RECORD,,\n"
    ),
    "opt/env/bin/six": "#!\n",
    f"{PYTHON}/bin/python3.12": "elf",
    f"{PYTHON}/BUILD": "20261110\n",
    f"{PYTHON}/lib/python3.12/os.py": "x = 1\n",
    f"{PYTHON}/lib/python3.12/site-packages/README.txt": "",
    f"{PYTHON}/lib/python3.12/site-packages/pip/__init__.py": "x = 1\n",
    f"{PYTHON}/lib/python3.12/site-packages/pip/__pycache__/__init__.cpython-312.pyc": "x",
    f"{PYTHON}/lib/python3.12/site-packages/pip-25.dist-info/RECORD": (
        f"pip/__init__.py,{DIGEST},6\npip-25.dist-info/RECORD,,\n"
    ),
}
PROGRAMS = (
    f"{INFO}/tool.postinst",
    "usr/local/bin/dlimg-entrypoint",
    "opt/env/bin/six",
    f"{PYTHON}/bin/python3.12",
)
LINKS = {
    "usr/bin/awk": "/etc/alternatives/awk",
    "etc/alternatives/awk": "/usr/bin/mawk",
    "etc/systemd/system/sshd.service": "/lib/systemd/system/ssh.service",
    "etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service",
    "etc/runit/runsvdir/default/ssh": "/etc/sv/ssh",
    "etc/ssl/certs/A.pem": "/usr/share/ca-certificates/mozilla/A.crt",
    "etc/ssl/certs/0123abcd.0": "A.pem",
    "opt/python/current": "cpython-3.12.16-linux-x86_64-gnu",
    f"{PYTHON}/bin/python3": "python3.12",
    "opt/python/cpython-3.12-linux-x86_64-gnu": f"/{PYTHON}",
}
LAYOUT = {
    "nodes": [
        {
            "path": "usr/local/bin/dlimg-entrypoint",
            "kind": "file",
            "mode": "755",
            "owner": "root",
            "sha256": hashlib.sha256(ENTRY.encode()).hexdigest(),
        },
        {"path": "opt/env", "kind": "folder", "mode": "755", "owner": "root"},
        {"path": "code", "kind": "folder", "mode": "775", "owner": "user"},
    ],
    "cuda_home": "",
    "managed_python": "3.12.16",
    "user": [0, 0],
}
Spoil = Callable[[Path], object]


def cache(*rows: tuple[str, str]) -> bytes:
    """The loader's cache with these names and paths."""
    start = loader.HEADER.size + len(rows) * loader.ROW.size
    texts, listed = b"", b""
    for row in rows:
        places = []
        for text in row:
            places.append(start + len(texts))
            texts += text.encode() + b"\0"
        listed += loader.ROW.pack(1, *places, 0, 0)
    head = loader.HEADER.pack(loader.MAGIC, len(rows), len(texts), 0, 0, 0, 0, 0)
    return bytes(head + listed + texts)


def write(file: Path, text: str = "x", mode: int = 0o644) -> None:
    missing = [folder for folder in file.parents if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        folder.chmod(0o755)
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(mode)


def folder(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)


def link(file: Path, target: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    file.unlink(missing_ok=True)
    file.symlink_to(target)


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree in which every path has a source."""
    top = tmp_path / "top"
    for path, text in {**PACKAGED, **WRITTEN}.items():
        write(top / path, text, 0o755 if path in PROGRAMS else 0o644)
    for path, target in LINKS.items():
        link(top / path, target)
    (top / "code").mkdir()
    (top / "code").chmod(0o775)
    (top / loader.CACHE).write_bytes(cache(("libz.so.1", f"/{LIBRARY}/libz.so.1")))
    sums = {path: hashlib.md5(text.encode()).hexdigest() for path, text in PACKAGED.items()}  # noqa: S324
    packaged = [*PACKAGED, "etc/ld.so.conf.d/x.conf"]
    folders = {
        str(parent) for path in [*packaged, *WRITTEN, *LINKS] for parent in Path(path).parents
    }
    own = {one for one in folders if one.startswith(("home", "opt", "usr/local"))}
    listed = "\n".join(f"/{path}" for path in [*packaged, *(folders - own - {"."}), "."])
    lines = [f"{digest}  {path}" for path, digest in sums.items()]
    lines.append(f"{hashlib.md5(b'x').hexdigest()}  etc/ld.so.conf.d/x.conf")  # noqa: S324
    write(top / f"{INFO}/tool.list", listed + f"\n/{INFO}\n/etc/ld.so.cache.d\n")
    write(top / f"{INFO}/tool.md5sums", "\n".join(lines) + "\n")
    contents: dict[str, object] = {"layout": LAYOUT, "lock": [make_row()]}
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        monkeypatch.setenv(f"DLIMG_{name.upper()}", str(tmp_path / f"{name}.json"))
    monkeypatch.setenv("DLIMG_CELL", json.dumps(SAID))
    return top


def make_row() -> dict[str, str]:
    return {"name": "six", "version": "1.17.0", "file": "six-1.17.0-py3-none-any.whl", "sha256": ""}


def faults(top: Path, *mounts: str) -> list[str]:
    """What the check finds, whoever owns the files of this machine's temporary folder."""
    seen = tree.read(top, list(mounts))
    mine = {path: entry._replace(uid=0, gid=0) for path, entry in seen.entries.items()}
    image = claims.Image(top, tree.Tree(mine, seen.mounted), dpkg.read(top), dpkg.installed(top))
    layout = environment.read()
    known = sources.claims(image, layout, SAID)
    return [f"{path} {fault}" for path, fault in sources.faults(image, known)]


def test_a_tree_in_which_everything_has_a_source(top: Path) -> None:
    assert faults(top) == []


@pytest.mark.parametrize(
    ("number", "name", "fault"),
    [
        ("3000", "jovyan", ""),
        ("3000", "other", "no package names the group other"),
        ("3001", "jovyan", "the group jovyan is not as base-passwd or the layout made it"),
    ],
)
def test_the_users_own_group_has_its_number_and_name(
    top: Path, number: str, name: str, fault: str
) -> None:
    accounts = importlib.import_module("_accounts")
    write(top / "etc/group", f"root:x:0:\nusers:x:100:\n{name}:x:{number}:\n")
    image = claims.Image(top, tree.read(top, []), dpkg.read(top), dpkg.installed(top))
    expected = {**SAID, "user": "jovyan", "gid": "3000"}
    assert list(accounts.groups(image, expected)) == [fault] * bool(fault)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda top: write(top / "x"), "x has no source"),
        (lambda top: write(top / "etc/pip.conf"), "etc/pip.conf has no source"),
        (lambda top: folder(top / "srv", 0o777), "srv has mode 777, not 755"),
        (lambda top: write(top / "etc/passwd", "toor::0:0::/:/bin/sh\n"), "etc/passwd "),
        (
            lambda top: write(top / "etc/group", "root:x:0:user\n"),
            "etc/group the group root has mem",
        ),
        (lambda top: write(top / "etc/subuid", "user:0:1\n"), "etc/subuid user has numbers"),
        (lambda top: write(top / "etc/profile", "PATH=/code\n"), "etc/profile is no copy of"),
        (lambda top: write(top / "etc/ca-certificates.conf", ""), "conf does not name mozilla/A"),
        (
            lambda top: write(top / "etc/ca-certificates.conf", "mozilla/A.crt\nb.crt\n"),
            "etc/ca-certificates.conf names b.crt, which no package",
        ),
        (
            lambda top: write(
                top / "etc/ssl/certs/ca-certificates.crt", CERTIFICATE.replace("abc", "abd")
            ),
            "holds 1 certificates of no package, lacks 1 certificates of packages",
        ),
        (lambda top: link(top / "etc/ssl/certs/A.pem", "/x"), "etc/ssl/certs/A.pem leads to /x"),
        (lambda top: link(top / "usr/bin/awk", "/x"), "usr/bin/awk leads to /x"),
        (
            lambda top: link(top / "usr/bin/mawk", "/code/awk"),
            "usr/bin/mawk leads to /code/awk, which",
        ),
        (lambda top: link(top / "usr/bin/mawk", "mawk"), "usr/bin/mawk leads to mawk, which"),
        (lambda top: link(top / "usr/bin/nawk", "/etc/alternatives/nawk"), "nawk has no source"),
        (
            lambda top: (top / loader.CACHE).write_bytes(cache(("libz.so.1", "/code/libz.so.1"))),
            "names /code/libz.so.1, and no setting names that folder",
        ),
        (
            lambda top: (top / loader.CACHE).write_bytes(cache(("libx.so", f"/{LIBRARY}/libx.so"))),
            f"names /{LIBRARY}/libx.so, which is not there",
        ),
        (
            lambda top: (top / loader.CACHE).write_bytes(cache(("a", f"/{LIBRARY}/libz.so.1"))),
            f"names /{LIBRARY}/libz.so.1 for a",
        ),
        (lambda top: (top / loader.CACHE).write_bytes(b"x"), "cannot be read"),
        (
            lambda top: write(top / "etc/ssh/sshd_config", "PermitRootLogin yes\n"),
            "etc/ssh/sshd_config is no copy of a file of tool",
        ),
        (
            lambda top: write(top / "var/lib/ucf/cache/:etc:ssh:sshd_config", "Port 2\n"),
            "sshd_config is no copy of a file of tool",
        ),
        (
            lambda top: write(top / "var/lib/ucf/registry", "eve /etc/ssh/sshd_config\n"),
            "etc/ssh/sshd_config is of eve, which is no package here",
        ),
        (
            lambda top: write(top / "var/lib/ucf/hashfile", "0  /etc/shadow\n"),
            "var/lib/ucf/hashfile has a line that no package writes",
        ),
        (lambda top: write(top / "etc/shells", "/code/sh\n"), "etc/shells has a line that"),
        (lambda top: write(top / "etc/ssh/ssh_host_rsa_key"), "ssh_host_rsa_key has no source"),
        (
            lambda top: link(
                top / "etc/systemd/system/eve.service", "/lib/systemd/system/ssh.service"
            ),
            "etc/systemd/system/eve.service leads to",
        ),
        (
            lambda top: link(top / "etc/systemd/system/sshd.service", "/code/sshd.service"),
            "etc/systemd/system/sshd.service leads to /code",
        ),
        (
            lambda top: link(top / "etc/systemd/user/default.target.wants/ssh.service", "/x"),
            "etc/systemd/user/default.target.wants/ssh.service leads to /x",
        ),
        (lambda top: link(top / "etc/runit/runsvdir/default/eve", "/code"), "eve leads to /code"),
        (lambda top: write(top / "etc/hosts.allow", "ALL: ALL\n"), "hosts.allow has a line that"),
        (lambda top: write(top / "home/user/.bashrc"), "home/user/.bashrc has no source"),
        (lambda top: write(top / "home/user/.profile", "x"), "is no copy of /etc/skel/.profile"),
        (
            lambda top: write(top / "usr/local/bin/dlimg-entrypoint", "x", 0o755),
            "usr/local/bin/dlimg-entrypoint has another content",
        ),
        (lambda top: (top / "code").chmod(0o777), "code has mode 777, not 775"),
        (lambda top: write(top / "opt/env/bin/pip"), "opt/env/bin/pip has no source"),
        (
            lambda top: write(top / "opt/env/lib/python/site-packages/x.pth"),
            "opt/env/lib/python/site-packages/x.pth has no source",
        ),
        (lambda top: (top / "usr/bin/mawk").chmod(0o4755), "usr/bin/mawk is a package's, and has"),
        (lambda top: (top / "usr/bin/mawk").chmod(0o700), "usr/bin/mawk is a package's, and has"),
        (lambda top: write(top / f"{PYTHON}/lib/python3.12/sitecustomize.py"), "has no source"),
        (lambda top: write(top / f"{PYTHON}/lib/python3.12/site-packages/x.py"), "has no source"),
        (
            lambda top: write(top / f"{PYTHON}/lib/python3.12/site-packages/pip/__init__.py"),
            "site-packages/pip/__init__.py has no source",
        ),
        (lambda top: write(top / f"{PYTHON}/x"), "x has no source"),
        (lambda top: write(top / "opt/python/cpython-3.13.1-linux/bin/x"), "x has no source"),
        (lambda top: link(top / f"{PYTHON}/bin/python3", "/code/python"), "leads to /code/python"),
        (
            lambda top: write(top / "etc/apt/apt.conf.d/docker-clean", 'Apt::X "y";\n'),
            "has a line that no package writes: line 1",
        ),
        (lambda top: write(top / "etc/ld.so.conf.d/00-nvcr-1.conf", "/code"), "names /code, where"),
    ],
)
def test_files_without_a_source_are_named(spoil: Spoil, fault: str, top: Path) -> None:
    spoil(top)
    problems = faults(top)
    assert any(fault in one for one in problems), problems


def test_auditwheels_empty_folder_of_a_locked_wheel_has_a_source(top: Path) -> None:
    packages = top / "opt/env/lib/python/site-packages"
    (packages / "six.libs").mkdir()
    assert faults(top) == []
    (packages / "seven.libs").mkdir()
    write(packages / "six.libs/x.so")
    assert sorted(path.rpartition("/")[2] for path in faults(top)) == [
        "seven.libs has no source",
        "x.so has no source",
    ]


def test_the_matrix_excepts_paths_without_a_source() -> None:
    found = [("etc/team/a", "has no source"), ("etc/other", "has no source")]
    allowed = [
        excuses.Excepted("etc/team/*", "made by system_commands"),
        excuses.Excepted("srv/*", "no longer there"),
    ]
    assert sources.excuse(found, allowed) == (
        {"etc/team/a": "made by system_commands"},
        ["the matrix excepts srv/*, and everything there has a source"],
    )
    assert sources.excuse(found, []) == ({}, [])


def driver(top: Path) -> None:
    """What the NVIDIA container toolkit leaves in a container."""
    write(top / f"{LIBRARY}/libcuda.so.580.1")
    link(top / f"{LIBRARY}/libcuda.so.1", "libcuda.so.580.1")
    link(top / f"{LIBRARY}/libcuda.so", "libcuda.so.1")
    link(top / f"{LIBRARY}/gbm/nvidia-drm_gbm.so", "../libcuda.so.1")
    write(top / "usr/bin/nvidia-smi", mode=0o755)
    write(top / "etc/vulkan/icd.d/nvidia_icd.json")
    write(top / "etc/ld.so.conf.d/00-nvcr-123.conf", f"/{LIBRARY}\n")
    names = ("libcuda.so.1", "libz.so.1")
    (top / loader.CACHE).write_bytes(cache(*((name, f"/{LIBRARY}/{name}") for name in names)))
    write(top / "etc/hosts", "127.0.0.1 localhost\n")


MOUNTS = (
    "/etc/hosts",
    f"/{LIBRARY}/libcuda.so.580.1",
    "/usr/bin/nvidia-smi",
    "/etc/vulkan/icd.d/nvidia_icd.json",
)


def test_what_an_engine_and_a_driver_add_has_its_source_outside(top: Path) -> None:
    driver(top)
    assert faults(top, *MOUNTS) == []


def test_a_driver_that_is_in_the_image_has_no_source(top: Path) -> None:
    driver(top)
    problems = "\n".join(faults(top))
    for path in (f"{LIBRARY}/libcuda.so.1", "usr/bin/nvidia-smi", "etc/vulkan", "etc/hosts"):
        assert f"{path} " in problems
    assert "00-nvcr-123.conf names" in problems


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (DEBIAN, ""),
        (DEBIAN + "Trusted: yes\n", "has an option Trusted"),
        (DEBIAN + "Allow-Insecure: yes\n", "has an option Allow-Insecure"),
        (DEBIAN.replace("trixie-updates", "sid"), "has a suite of another release than trixie"),
        (DEBIAN.replace("debian.gpg", "eve.gpg"), "trusts a key that no package brought"),
        (
            DEBIAN.replace("main", "main evil"),
            "has a component that the distribution does not have",
        ),
        (DEBIAN.replace("Types: deb", "Types: rpm"), "has an entry of another type"),
        (DEBIAN + "Enabled: no\n", "has an entry that is switched off"),
    ],
)
def test_where_apt_takes_packages_from(text: str, fault: str, top: Path) -> None:
    path = "etc/apt/sources.list.d/debian.sources"
    write(top / path, text)
    assert faults(top) == ([f"{path} {fault}"] if fault else [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("deb http://deb.debian.org/debian trixie main", ""),
        ("deb [signed-by=/usr/share/keyrings/debian.gpg] http://x trixie main", ""),
        ("deb [trusted=yes] http://x trixie main", "has an option trusted"),
        ("deb [allow-insecure=yes] http://x trixie main", "has an option allow-insecure"),
        (
            "deb [signed-by=/etc/eve.gpg] http://x trixie main",
            "trusts a key that no package brought",
        ),
        ("deb http://x ./", "has a suite of another release than trixie"),
    ],
)
def test_where_apt_takes_packages_from_by_one_line_each(text: str, fault: str, top: Path) -> None:
    write(top / "etc/apt/sources.list", f"# sources\n{text}\n")
    assert faults(top) == ([f"etc/apt/sources.list {fault}"] if fault else [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("manual\n/usr/bin/awk\n\n/usr/bin/mawk\n5\n\n", "a person has chosen here"),
        ("auto\n/usr/bin/awk\n\n/code/awk\n5\n\n", "names /code/awk, which no package brought"),
        ("auto\n", "cannot be read as update-alternatives writes it"),
    ],
)
def test_a_choice_that_no_package_made(text: str, fault: str, top: Path) -> None:
    write(top / "var/lib/dpkg/alternatives/awk", text)
    assert any(fault in one for one in faults(top))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("usr/bin/awk", "usr/bin/mawk"),
        ("etc/ssl/certs/0123abcd.0", "usr/share/ca-certificates/mozilla/A.crt"),
        ("opt/python/current/bin/python3", f"{PYTHON}/bin/python3.12"),
        ("nowhere/x", "nowhere/x"),
        ("loop", "loop"),
        ("up", "usr"),
    ],
)
def test_links_are_followed_within_the_root(path: str, place: str, top: Path) -> None:
    link(top / "loop", "loop")
    link(top / "up", "../../usr")
    assert tree.resolved(tree.read(top, []).entries, path) == place


def test_of_several_programs_the_one_of_the_highest_priority_is_chosen() -> None:
    text = "auto\n/usr/bin/x\nx.1\n/man/x.1\n\n/usr/bin/a\n1\n/man/a.1\n/usr/bin/b\n9\n\n\n"
    group = alternatives.parse("x", text)
    assert [choice.program for choice in group.choices] == ["/usr/bin/a", "/usr/bin/b"]
    assert group.links == {"x": "/usr/bin/x", "x.1": "/man/x.1"}
    assert group.choices[1].others == {"x.1": ""}


def test_a_file_that_its_package_has_no_sum_of_is_named(top: Path) -> None:
    with (top / f"{INFO}/tool.list").open("a") as file:
        file.write("/usr/bin/eve\n")
    write(top / "usr/bin/eve")
    assert faults(top) == ["usr/bin/eve is a file, of which its package has no sum"]


def test_links_that_the_layout_makes_for_each_wheel(top: Path, tmp_path: Path) -> None:
    notes = "usr/local/lib/dlimg/packages/1234"
    note = f"{notes}/SIX/SIX.egg-info/PKG-INFO"
    link(top / "usr/local/bin/six", "/usr/local/lib/dlimg/command")
    link(top / note, "/opt/env/lib/python/site-packages/six-1.17.0.dist-info/METADATA")
    (top / notes / "SIX").chmod(0o711)
    before = faults(top)
    assert {f"{path} has no source" for path in ("usr/local/bin/six", note)} <= set(before)
    commands = ["/usr/local/bin", "/usr/local/lib/dlimg/command"]
    text = {**LAYOUT, "commands": commands, "notes": f"/{notes}"}
    (tmp_path / "layout.json").write_text(json.dumps(text))
    assert faults(top) == ["usr/local/lib/dlimg has no source"]
    link(top / "usr/local/bin/six", "/code/six")
    link(top / "usr/local/bin/seven", commands[1])
    assert set(faults(top)) == {
        "usr/local/lib/dlimg has no source",
        "usr/local/bin/six leads to /code/six",
        "usr/local/bin/seven has no source",
    }


def test_without_a_cell_it_is_not_run(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLIMG_CELL")
    assert code_of(lambda: sources.main(top)) == NOT_RUN


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nodes": []}', None])
def test_without_a_layout_nothing_passes(
    text: str | None, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is None:
        monkeypatch.delenv("DLIMG_LAYOUT")
    else:
        (tmp_path / "layout.json").write_text(text)
    assert code_of(lambda: sources.main(top)) == FAILED


def test_a_cache_in_another_format_is_told_of() -> None:
    with pytest.raises(ValueError, match="another format"):
        loader.parse(b"ld.so-1.7.0")
    with pytest.raises((ValueError, struct.error)):
        loader.parse(cache(("a", "/a"))[: loader.HEADER.size + 4])


def test_the_layout_holds_every_file_that_templates_and_lock_make() -> None:
    cell, lock = samples.cell(), samples.lock()
    nodes = {node.path: node for node in layout_tree(cell, lock, load_templates(files_in(IMAGES)))}
    for file in layout_files(cell.flavour):
        text = (IMAGES / "_layout" / file.template).read_text()
        node = nodes[file.path.removeprefix("/")]
        assert (node.kind, node.mode) == ("file", file.mode)
        assert "{" in text or node.sha256 == hashlib.sha256(text.encode()).hexdigest()
    for cell_file in cell_files(cell, lock):
        node = nodes[cell_file.path.removeprefix("/")]
        assert node.sha256 == hashlib.sha256(cell_file.text.encode()).hexdigest()
    assert nodes["etc/dlimg"].kind == "folder"
    assert "etc" not in nodes
    answer = json.loads(tree_text(cell, lock, tuple(nodes.values())))
    assert (answer["user"], answer["home"]) == ([1000, 100], "home/user")
    assert {row["path"] for row in answer["nodes"]} == nodes.keys()
