"""Lies about an image, each put into a real container: the check of sources names every one.

Lies of one kind share a container where they do not meet, because starting one takes longer than
a lie does. The check tells of all that it finds, so each has to be named.
"""
# ruff: noqa: S108  # the folders are in a container

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from docker.types import Mount

from dlimg.checks import run
from dlimg.checks.discover import checks_for
from dlimg.checks.run import CheckSettings
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus, Verdict
from tests.support import real_jax
from tests.support.image_folders import checks_in, files_in
from tests.support.real_jax import IMAGES, PACKAGES, check_verdict
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

CHECK = "every_file_has_a_source"
HOME_SITE = "/home/user/env/lib/python3.13/site-packages"
INDEX = "[global]\nindex-url = https://example.com/simple\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """A script of root's, and what the check says of it."""

    script: str
    reason: str


def put(path: str, text: str = "x", reason: str = "has no source") -> Lie:
    """A file that somebody put there."""
    folder = path.rpartition("/")[0] or "/"
    return Lie(
        script=f"mkdir -p {folder}; printf '%s' '{text}' > {path}", reason=f"{path} {reason}"
    )


def add(path: str, text: str, reason: str) -> Lie:
    """A line more in a file."""
    return Lie(script=f"echo '{text}' >> {path}", reason=f"{path} {reason}")


def edit(path: str, change: str, reason: str) -> Lie:
    return Lie(script=f"sed -i '{change}' {path}", reason=f"{path} {reason}")


def do(script: str, reason: str) -> Lie:
    return Lie(script=script, reason=reason)


ACCOUNTS = {
    "a second root": [
        add("/etc/passwd", "toor::0:0::/root:/bin/bash", "has two of uid 0, toor has its password"),
        add("/etc/shadow", "toor::19723:0:99999:7:::", "toor can log in with a password, or none"),
    ],
    "accounts": [
        add("/etc/passwd", "eve:x:1001:100::/home/eve:/bin/bash", "eve is no account"),
        add("/etc/shadow", "mallory:*:19723:0:99999:7:::", "does not have the same names"),
        add("/etc/group", "wheel:x:999:", "no package names the group wheel"),
        add("/etc/gshadow", "docker:*::", "does not have the same names as /etc/group: docker"),
        add("/etc/subuid", "user:0:65536", "user has numbers of others"),
        add("/etc/subgid", "eve:1000:1", "eve has numbers of others"),
    ],
    "another shell, powerful groups, a password": [
        edit("/etc/passwd", "s#^\\(user:.*\\):/bin/bash#\\1:/bin/sh#", "user is not as the layout"),
        edit("/etc/group", "s/^sudo:x:27:/sudo:x:27:user/", "the group sudo has members: user"),
        edit("/etc/gshadow", "s/^root:\\*::/root:*::user/", "the group root has members"),
        edit("/etc/shadow", "s/^user:[*]:/user:$6$salt$hash:/", "user can log in with a password"),
    ],
    "root's shell and the numbers of groups": [
        edit(
            "/etc/passwd",
            "s#^root:x:0:0:root:/root:/bin/bash#root:x:0:0:root:/:/bin/sh#",
            "root is",
        ),
        edit(
            "/etc/group", "s/^users:x:100:/users:x:101:/", "the group users is not as base-passwd"
        ),
        edit("/etc/shadow", "s/^root:\\*:/root::/", "root can log in with a password, or none"),
        edit("/etc/gshadow", "s/^users:\\*:/users::/", "the group users has a password"),
    ],
    "lists that others may read": [
        do("chmod 644 /etc/shadow", "/etc/shadow has mode 644, not 640"),
        do("chmod 666 /etc/passwd", "/etc/passwd has mode 666, not 644"),
        do("chown 1000 /etc/group", "/etc/group belongs to 1000:0, not 0:0"),
    ],
}
TRUST = {
    "certificate authorities and keys": [
        put("/usr/local/share/ca-certificates/eve.crt"),
        do(
            "printf -- '-----BEGIN CERTIFICATE-----\\nx\\n"
            "-----END CERTIFICATE-----\\n' >> /etc/ssl/certs/ca-certificates.crt",
            "/etc/ssl/certs/ca-certificates.crt holds 1 certificates of no package",
        ),
        do("ln -s /code/eve.pem /etc/ssl/certs/12345678.0", "/etc/ssl/certs/12345678.0 leads to"),
        put("/etc/ssl/certs/eve.pem"),
        add(
            "/etc/ca-certificates.conf",
            "!mozilla/ISRG_Root_X1.crt",
            "takes trust from mozilla/ISRG",
        ),
        put("/etc/apt/trusted.gpg.d/eve.gpg"),
        put("/usr/share/keyrings/eve.gpg"),
        put("/root/.ssh/authorized_keys"),
        put("/home/user/.ssh/known_hosts"),
        put("/etc/ssh/ssh_known_hosts"),
        put("/root/.gnupg/pubring.kbx"),
    ],
    "authorities that are gone": [
        do(
            "rm /etc/ssl/certs/ISRG_Root_X1.pem; sed -i /ISRG_Root_X1/d /etc/ca-certificates.conf",
            "/etc/ca-certificates.conf does not name mozilla/ISRG_Root_X1.crt",
        ),
    ],
}
SETTINGS = {
    "pip and uv": [
        put("/etc/pip.conf", INDEX),
        put("/home/user/.config/pip/pip.conf", INDEX),
        put("/root/.pip/pip.conf", INDEX),
        put("/etc/xdg/pip/pip.conf", INDEX),
        put("/home/user/.config/uv/uv.toml"),
        put("/etc/uv/eve.toml"),
        put("/home/user/.pydistutils.cfg"),
        put("/home/user/.condarc"),
        edit("/etc/dlimg/constraints.txt", "s/==/>=/", "has another content"),
        edit("/etc/dlimg/requirements.txt", "1d", "has another content"),
    ],
    "apt": [
        put("/etc/apt/sources.list.d/eve.list", "deb https://example.com ./"),
        put(
            "/etc/apt/sources.list",
            "deb [trusted=yes] http://deb.debian.org/debian trixie main",
            "has an option trusted",
        ),
        add("/etc/apt/sources.list.d/0000dlimg.sources", "Trusted: yes", "has an option Trusted"),
        put("/etc/apt/apt.conf.d/99eve", 'APT::Get::AllowUnauthenticated "true";'),
        put("/etc/apt/apt.conf", 'Acquire::http::Proxy "http://example.com";'),
        put("/etc/apt/preferences.d/eve", "Package: *"),
        put("/etc/apt/auth.conf.d/eve.conf"),
        put("/etc/dpkg/dpkg.cfg.d/eve", "post-invoke=true"),
    ],
    "apt, another release": [
        edit(
            "/etc/apt/sources.list.d/0000dlimg.sources",
            "s/^Suites: .*/Suites: sid/",
            "has a suite of another release than trixie",
        ),
    ],
    "apt, another key": [
        edit(
            "/etc/apt/sources.list.d/0000dlimg.sources",
            "s#^Signed-By: .*#Signed-By: /etc/eve.gpg#",
            "trusts a key that no package brought",
        ),
    ],
    "shells": [
        edit("/etc/profile.d/dlimg.sh", "/opt.env.bin/d", "has another content"),
        edit("/etc/dlimg/environment", "/PIP_CONSTRAINT/d", "has another content"),
        add(
            "/root/.bashrc",
            "PATH=/code/bin:$PATH",
            "is no copy of /usr/share/base-files/dot.bashrc",
        ),
        add("/home/user/.profile", "umask 0", "is no copy of /etc/skel/.profile"),
        add("/home/user/.bashrc", "alias pip=true", "is no copy of /etc/skel/.bashrc"),
        add("/etc/profile", "umask 0", "is no copy of"),
        put("/etc/profile.d/eve.sh"),
        do(
            "mv /etc/security /code/security; ln -s /code/security /etc/security",
            "/code/security has no source",
        ),
        put("/home/user/.bash_aliases"),
        put("/home/user/.bash_profile"),
        put("/home/user/.inputrc"),
        put("/root/.bash_login"),
        put("/etc/skel/.bash_profile"),
        add("/etc/environment", "LD_PRELOAD=/code/x.so", "has another content"),
        add("/etc/shells", "/code/shell", "has a line that no package writes"),
    ],
    "ssh, git, curl and others": [
        put("/etc/ssh/ssh_config.d/eve.conf"),
        put("/etc/ssh/sshd_config"),
        put("/home/user/.ssh/config"),
        put("/etc/gitconfig"),
        put("/home/user/.gitconfig"),
        put("/root/.curlrc"),
        put("/etc/wgetrc"),
        put("/home/user/.jupyter/jupyter_server_config.py"),
        put("/etc/jupyter/jupyter_server_config.json"),
        put("/opt/env/etc/jupyter/jupyter_server_config.d/eve.json"),
        put("/home/user/.local/share/jupyter/kernels/python3/kernel.json"),
        put("/home/user/.config/matplotlib/matplotlibrc"),
        put("/home/user/.keras/keras.json"),
    ],
    "Python": [
        edit("/opt/env/pyvenv.cfg", "s/packages = false/packages = true/", "has another content"),
        edit(
            "/home/user/env/pyvenv.cfg",
            "s/packages = false/packages = true/",
            "is not as it was made",
        ),
        put(f"{HOME_SITE}/eve.pth", "import this"),
        add(f"{HOME_SITE}/dlimg.pth", "import os", "is not as it was made"),
        put(f"{HOME_SITE}/sitecustomize.py"),
        put(f"{PACKAGES}/eve.pth", "import this"),
        put(f"{PACKAGES}/usercustomize.py"),
        put("/usr/lib/python3.13/sitecustomize.pyc"),
        put("/usr/local/lib/python3.13/dist-packages/eve.pth"),
        put("/home/user/.local/lib/python3.13/site-packages/jax.py"),
        put("/usr/bin/python3._pth"),
        put("/opt/env/bin/python313._pth"),
        put("/home/user/.pythonrc.py"),
        add("/opt/env/bin/activate", "export PYTHONPATH=/code", "is not as it was made"),
        do("ln -sfn /code /opt/env/lib64", "/opt/env/lib64 leads to /code"),
        do(
            "ln -sf /code/python /opt/env/bin/python3", "/opt/env/bin/python3 leads to /code/python"
        ),
    ],
    "the loader": [
        put("/etc/ld.so.preload", "/code/x.so"),
        put("/etc/ld.so.conf.d/eve.conf", "/code"),
        do(
            "mkdir -p /code/lib; cp /lib/x86_64-linux-gnu/libz.so.1 /code/lib/libeve.so.1; "
            "echo /code/lib > /tmp/eve.conf; ldconfig -f /tmp/eve.conf",
            "/etc/ld.so.cache names /code/lib/libz.so.1, and no setting names that folder",
        ),
    ],
    "names, time, and who is asked for them": [
        edit("/etc/nsswitch.conf", "s/^passwd: .*/passwd: eve/", "is no copy of"),
        do("ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime", "/etc/localtime leads to"),
        put("/etc/timezone", "Asia/Tokyo", "has a line that no package writes: line 1"),
        put("/etc/default/locale", "LANG=C"),
        put("/etc/locale.conf", "LANG=C"),
        put("/etc/host.conf.d/eve"),
        put("/etc/machine-id", "0123456789abcdef", "has mode 644, not 444"),
    ],
    "PAM and sudo": [
        add("/etc/pam.d/common-auth", "auth sufficient pam_permit.so", "has a rule of no package"),
        edit("/etc/pam.d/common-account", "/pam_deny/d", "lacks a rule of its template"),
        put("/etc/pam.d/eve"),
        put("/etc/sudoers", "user ALL=(ALL) NOPASSWD: ALL"),
        put("/etc/sudoers.d/user"),
        put("/etc/security/limits.d/eve.conf"),
        put("/etc/polkit-1/rules.d/eve.rules"),
    ],
}
OWNERSHIP = {
    "who owns what": [
        do(f"chown -R 1000:100 {PACKAGES}/jax", f"{PACKAGES}/jax belongs to 1000:100, not 0:0"),
        do("chown 1000 /opt/env/bin", "/opt/env/bin belongs to 1000:0, not 0:0"),
        do(
            "chown 1000 /usr/lib/python3.13/os.py",
            "/usr/lib/python3.13/os.py is a package's, and has",
        ),
        do("chown -h 1000 /usr/bin/python3", "/usr/bin/python3 is a package's, and has"),
        do("chown 1000 /etc/dlimg", "/etc/dlimg belongs to 1000:0, not 0:0"),
        do(
            "chown 1000 /usr/local/bin/dlimg-entrypoint",
            "/usr/local/bin/dlimg-entrypoint belongs to",
        ),
        do("chown 0 /home/user/env", "/home/user/env belongs to 0:100, not 1000:100"),
        do("chown 33:33 /srv", "/srv belongs to 33:33, not 0:0"),
        do("chown 1000 /", "/. is a package's, and has mode 755 and owner 1000:0"),
    ],
    "who may do what": [
        do("chmod 666 /etc/bash.bashrc", "/etc/bash.bashrc is a package's, and has mode 666"),
        do("chmod 777 /usr/local/bin", "/usr/local/bin has mode 777, not 755"),
        do("chmod 775 /etc/profile.d", "/etc/profile.d is a package's, and has mode 775"),
        do(
            "chmod 600 /usr/lib/python3.13/ast.py",
            "/usr/lib/python3.13/ast.py is a package's, and has mode 600",
        ),
        do(f"chmod 664 {PACKAGES}/jax/version.py", f"{PACKAGES}/jax/version.py has mode 664"),
        do("chmod 4755 /usr/bin/env", "/usr/bin/env is a package's, and has mode 4755"),
        do("chmod 2755 /usr/bin/tar", "/usr/bin/tar is a package's, and has mode 2755"),
        do("chmod 777 /code", "/code has mode 777, not 775"),
        do("chmod 755 /tmp", "/tmp has mode 755, not 1777"),
        do("chmod 700 /opt/env", "/opt/env has mode 700, not 755"),
        do("chmod 755 /root", "/root is a package's, and has mode 755"),
    ],
    "what is attached to files": [
        do(
            "python3 -c \"import os; os.setxattr('/usr/bin/bash', 'security.capability', "
            "bytes.fromhex('0100000202000000000000000000000000000000'))\"",
            "/usr/bin/bash has security.capability",
        ),
        do(
            "python3 -c \"import os; os.setxattr('/code', 'user.eve', b'x')\"", "/code has user.eve"
        ),
        do("mkfifo /data/pipe", "/data/pipe has no source"),
        do("mknod /data/zero c 1 5", "/data/zero has no source"),
        do(
            "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/data/sock')\"",
            "/data/sock has no source",
        ),
        do("ln /usr/bin/bash /data/bash", "/data/bash has no source"),
    ],
}
STARTS = {
    "what starts": [
        add("/usr/local/bin/dlimg-entrypoint", "true", "has another content"),
        add("/usr/local/bin/dlimg-overlay", "true", "has another content"),
        edit("/usr/local/bin/python3", "s/^find_overlay$//", "has another content"),
        add("/usr/local/lib/dlimg/find-overlay", "true", "has another content"),
        add("/usr/local/lib/dlimg/diagnosis.py", "pass", "has another content"),
        add("/usr/local/lib/dlimg/checks/framework.py", "pass", "has another content"),
        put("/usr/local/lib/dlimg/checks/own.py"),
        put("/usr/local/lib/dlimg/__pycache__/own.cpython-313.pyc"),
        add("/etc/dlimg/image.json", " ", "has another content"),
        add("/opt/env/lib/python/site-packages/dlimg_start.py", "pass", "has another content"),
        add("/opt/env/lib/python/site-packages/dlimg_start.pth", "import os", "has another"),
        put("/etc/init.d/eve"),
        do(
            "ln -s ../init.d/eve /etc/rc3.d/S01eve 2>/dev/null || { mkdir -p /etc/rc3.d; "
            "ln -s ../init.d/eve /etc/rc3.d/S01eve; }",
            "/etc/rc3.d/S01eve leads to ../init.d/eve",
        ),
        put("/etc/cron.d/eve"),
        put("/etc/cron.daily/eve"),
        put("/var/spool/cron/crontabs/root"),
        put("/etc/systemd/system/eve.service"),
        do(
            "mkdir -p /etc/systemd/system/multi-user.target.wants; ln -s /lib/systemd/system/"
            "rescue.service /etc/systemd/system/multi-user.target.wants/rescue.service",
            "/etc/systemd/system/multi-user.target.wants/rescue.service leads to",
        ),
        put("/etc/rc.local"),
        put("/usr/local/sbin/nvidia-smi"),
        do(
            "rm /usr/local/bin/pip; cp /usr/bin/true /usr/local/bin/pip",
            "/usr/local/bin/pip is a file, not a link",
        ),
        put("/usr/local/bin/torchrun"),
        put("/usr/local/bin/nvcc"),
        put("/usr/local/lib/libc.so.6"),
        do("ln -s /opt/x /usr/lib/libx.so", "/usr/lib/libx.so has no source"),
        do(
            "cd /usr/lib/python3.13/__pycache__; cp ast.cpython-313.pyc none.cpython-313.pyc",
            "/usr/lib/python3.13/__pycache__/none.cpython-313.pyc has no source",
        ),
        put("/opt/env/bin/nvcc"),
        put("/home/user/env/bin/pip"),
        do("cp /usr/bin/true /usr/bin/docker-init", "/usr/bin/docker-init has no source"),
    ],
    "alternatives": [
        do("ln -sf /code/awk /etc/alternatives/awk", "/etc/alternatives/awk leads to /code/awk"),
        do("ln -s /etc/alternatives/eve /usr/bin/eve", "/usr/bin/eve has no source"),
        do(
            "cp /usr/bin/true /usr/bin/editor; "
            "update-alternatives --quiet --install /usr/bin/vi vi /usr/bin/editor 9",
            "/var/lib/dpkg/alternatives/vi names /usr/bin/editor, which no",
        ),
        do(
            "printf 'manual\\n/usr/bin/pager\\n\\n/bin/more\\n50\\n\\n' > "
            "/var/lib/dpkg/alternatives/pager",
            "/var/lib/dpkg/alternatives/pager a person has",
        ),
    ],
    "dpkg's database": [
        put("/var/lib/dpkg/info/eve.list", "/code/eve"),
        put("/var/lib/dpkg/info/eve.postinst"),
        put("/var/lib/dpkg/statoverride", "root root 4755 /bin/bash", "is not empty"),
        put("/var/lib/dpkg/updates/0001"),
        do(
            "printf '/usr/bin/env\\n/usr/bin/env.real\\n:\\n' >> /var/lib/dpkg/diversions",
            "/var/lib/dpkg/diversions is of :, which is no package here",
        ),
        do(
            "echo /code/eve >> /var/lib/dpkg/info/tini.list; touch /code/eve",
            "/code/eve is a file, of which its package has no sum",
        ),
        add("/var/lib/dpkg/triggers/File", "/code eve", "names eve, which is no package here"),
        put("/var/cache/debconf/passwords.dat", "Name: x", "is not empty"),
    ],
}
CONTENT = {
    "what lies about": [
        put("/code/jax.py", "raise SystemExit"),
        do("mkdir /code/jax", "/code/jax has no source"),
        do("head -c 5000000 /dev/zero > /home/user/junk", "/home/user/junk has no source"),
        put("/data/weights.bin"),
        put("/output/x"),
        put("/home/eve/x"),
        put("/root/x"),
        put("/srv/x"),
        put("/opt/x/y"),
        put("/var/lib/eve/x"),
        put("/var/backups/x"),
        put("/var/tmp/x"),
        put("/tmp/x"),
        put("/run/eve/x"),
        put("/x"),
        put("/.x"),
        put("/usr/share/eve"),
        put("/usr/local/src/eve.c"),
        put("/boot/vmlinuz"),
        do("touch /lib/eve.ko", "/usr/lib/eve.ko has no source"),
        do("mkdir -m 700 /var/opt/eve", "/var/opt/eve has no source"),
        put("/etc/motd.d/eve"),
        add("/etc/motd", "hello", "is no copy of"),
        add("/etc/fstab", "/dev/sda1 / ext4 defaults 0 0", "has a line that no package writes"),
    ],
    "in the environment": [
        put(f"{PACKAGES}/jax/eve.py"),
        put(f"{PACKAGES}/eve/__init__.py"),
        put(f"{PACKAGES}/jax/__pycache__/eve.cpython-313.pyc"),
        do(f"mkdir {PACKAGES}/numpy/empty", f"{PACKAGES}/numpy/empty has no source"),
        put(f"{PACKAGES}/eve-1.0.dist-info/RECORD", "eve/x.py,,"),
        put("/opt/env/share/eve"),
        put("/opt/env/lib/libeve.so"),
        put("/opt/python/x"),
        do(
            f"echo ../../../../../../etc/eve.conf,, >> {PACKAGES}/jax-0.12.0.1.dist-info/RECORD; "
            "touch /etc/eve.conf",
            "/etc/eve.conf has no source",
        ),
        do("rm /opt/env/bin/python", "/opt/env/bin/python is gone"),
        do("ln -sfn /output/x /etc/os-release", "/etc/os-release leads to /output/x, which no"),
        do("ln -sfn /code/rmt /etc/rmt", "/etc/rmt leads to /code/rmt, which no package"),
        do("rm /etc/profile.d/dlimg.sh", "/etc/profile.d/dlimg.sh is gone"),
    ],
}
LIES = {**ACCOUNTS, **TRUST, **SETTINGS, **OWNERSHIP, **STARTS, **CONTENT}
# Lists whose lies do not meet share a container.
CONTAINERS = (
    ("a second root", "certificate authorities and keys", "pip and uv"),
    ("accounts", "apt", "ssh, git, curl and others"),
    ("another shell, powerful groups, a password", "shells", "alternatives"),
    ("root's shell and the numbers of groups", "the loader", "PAM and sudo"),
    ("lists that others may read", "what starts"),
    ("authorities that are gone", "apt, another release", "dpkg's database"),
    ("names, time, and who is asked for them", "apt, another key", "what lies about"),
    ("Python",),
    ("who owns what",),
    ("who may do what", "in the environment"),
    ("what is attached to files",),
)


@pytest.fixture(scope="module")
def built(jax_image: BuiltImage) -> BuiltImage:
    return jax_image


def test_every_list_of_lies_has_a_container() -> None:
    assert sorted(name for names in CONTAINERS for name in names) == sorted(LIES)


@pytest.mark.parametrize("names", first_values(CONTAINERS, 1, pytest.mark.sabotage), ids=", ".join)
def test_every_file_without_a_source_is_named(
    names: tuple[str, ...], engine: Engine, built: BuiltImage
) -> None:
    lies = [lie for name in names for lie in LIES[name]]
    # `python` may be what is spoilt: the interpreter itself runs the check.
    script = "\n".join(f"( {lie.script} )" for lie in lies)
    with real_jax.spoilt_container(engine, built, script, user="0") as there:
        verdict = check_verdict(there, built, CHECK)
    assert verdict.status is CheckStatus.FAILED, verdict
    faults = verdict.figures["faults"]
    assert isinstance(faults, list)
    assert [lie for lie in lies if not is_named(lie, faults)] == [], "\n".join(faults)


def is_named(lie: Lie, faults: list[str]) -> bool:
    """Whether a fault of this path holds the lie's reason."""
    path, _, reason = lie.reason.partition(" ")
    return any(fault.startswith(f"{path} ") and reason in fault for fault in faults)


LIBRARY = "/usr/lib/x86_64-linux-gnu"
# As the NVIDIA container toolkit leaves a container: links, settings and the loader's cache.
INJECTED = f"""
ln -s libcuda.so.580.1 {LIBRARY}/libcuda.so.1
ln -s libcuda.so.1 {LIBRARY}/libcuda.so
mkdir {LIBRARY}/gbm
ln -s ../libcuda.so.1 {LIBRARY}/gbm/nvidia-drm_gbm.so
echo {LIBRARY} > /etc/ld.so.conf.d/00-nvcr-1234567.conf
ldconfig
"""


def test_a_driver_that_is_mounted_is_no_lie(
    engine: Engine, built: BuiltImage, tmp_path: Path
) -> None:
    driver = tmp_path / "libcuda.so"
    driver.write_bytes(b"driver")
    places = (f"{LIBRARY}/libcuda.so.580.1", "/usr/share/nvidia/x.rc", "/etc/vulkan/icd.d/x.json")
    mounts = [Mount(place, str(driver), type="bind", read_only=True) for place in places]
    with real_jax.spoilt_container(engine, built, INJECTED, user="0", mounts=mounts) as there:
        verdict = check_verdict(there, built, CHECK)
    assert verdict.status is CheckStatus.PASSED, verdict


def by_command(engine: Engine, built: BuiltImage, folder: Path) -> Verdict:
    """What the command's own way to the check says of an image."""
    checks = [
        check
        for check in checks_for(built.planned.image.cell, checks_in(IMAGES))
        if check.name == CHECK
    ]
    settings = CheckSettings(evidence=folder, log=print)
    (evidence,) = run.run_checks(
        built, checks, engine, device=None, images=files_in(IMAGES), settings=settings
    ).verdicts
    return evidence


def test_the_unchanged_image_passes_the_file_sources_check(
    engine: Engine, built: BuiltImage, tmp_path: Path
) -> None:
    verdict = by_command(engine, built, tmp_path)
    assert verdict.status is CheckStatus.PASSED, verdict
    assert verdict.figures["faults"] == []


def test_an_image_with_a_second_root_fails(
    engine: Engine, built: BuiltImage, tmp_path: Path
) -> None:
    # Seen: `su toor` worked, and every check of that day passed.
    script = "echo toor::0:0::/root:/bin/bash >> /etc/passwd"
    container = engine.sdk.containers.create(
        built.digest, entrypoint=["sh", "-c", script], user="0", network_mode="none"
    )
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        config = engine.sdk.images.get(built.digest).attrs["Config"]
        spoilt = container.commit(conf=config)
    finally:
        container.remove(force=True)
    try:
        verdict = by_command(engine, replace(built, digest=str(spoilt.id)), tmp_path)
    finally:
        engine.sdk.images.remove(str(spoilt.id))
    assert verdict.status is CheckStatus.FAILED
    assert "/etc/passwd has two of uid 0, toor has its password here" in verdict.reason
