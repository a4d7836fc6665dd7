"""A run as user data of cloud-init, for a bare Debian or Ubuntu machine. Pure."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from dlimg.run.machine_packages import driver_branch
from dlimg.run.model import Mount
from dlimg.run_formats.engines import docker_options, joined_lines
from dlimg.run_formats.model import PrintedRun, refuse
from dlimg.run_formats.vm_script import steps
from dlimg.run_formats.yaml_text import yaml_text

_PROGRAM: Final = "/usr/local/sbin/dlimg-vm"
_UNIT: Final = f"""[Unit]
Description=Set-up and start of a dlimg run
Wants=network-online.target
After=network-online.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={_PROGRAM}
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""
_MOTD: Final = "#!/bin/sh\nsed 's/^/  /' /var/lib/dlimg/message 2>/dev/null || true\n"


def cloud_init_text(run: PrintedRun) -> str:
    """Return user data: a script, a unit that runs it at every boot, and the text at a login."""
    files = {
        _PROGRAM: (vm_script(run), "0755"),
        "/etc/systemd/system/dlimg-vm.service": (_UNIT, "0644"),
        "/etc/update-motd.d/60-dlimg": (_MOTD, "0755"),
    }
    document: dict[str, Any] = {
        "write_files": [
            {"path": path, "permissions": mode, "content": text}
            for path, (text, mode) in files.items()
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "--no-block", "dlimg-vm.service"],
        ],
    }
    return "#cloud-config\n" + yaml_text(document)


def vm_script(run: PrintedRun) -> str:
    """Return the script: the run's settings and its `docker run`, then the steps."""
    on_machine = _on_machine(run)
    folders = dict.fromkeys(_folders(run).values())
    settings = {
        "name": run.name,
        "image": run.spec.image,
        "gpu": "yes" if run.spec.gpu else "no",
        "floor": run.driver,
        "branch": str(driver_branch(run.driver, is_open=True)),
        "owner": run.spec.user or "1000:1000",
        "folders": " ".join(folders),
        "secrets": " ".join(run.secrets),
        "is_server": "no" if run.mode == "command" else "yes",
        "tunnel": _tunnel(run),
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    start = f"start_container() {{\n{_docker_run(on_machine)}}}\n"
    about = "# Made by `dlimg run --print cloud-init`. Each step does only what is missing.\n"
    return f"#!/bin/sh\n{about}set -eu\n{head}{start}{steps()}"


def _on_machine(run: PrintedRun) -> PrintedRun:
    """Return the run with its folders below /srv/dlimg, and its secrets in files."""
    folders = _folders(run)
    mounts = [
        replace(mount, source=folders[mount.source]) for mount in run.spec.mounts if mount.source
    ]
    mounts += [
        Mount(
            kind="bind",
            source=f"/etc/dlimg/secrets/{name}",
            target=f"/run/secrets/{name}",
            read_only=True,
        )
        for name in run.secrets
    ]
    return replace(run, spec=replace(run.spec, mounts=tuple(mounts), terminal=False))


def _folders(run: PrintedRun) -> Mapping[str, str]:
    """Return the machine's folder for each source, named after its first path in the container."""
    folders: dict[str, str] = {}
    for mount in run.spec.mounts:
        folder = f"/srv/dlimg/{run.name}{mount.target}"
        if any(character.isspace() or character in "*?[\\" for character in folder):
            raise refuse(
                f"a shell would split {mount.target}", "cloud-init", "name the data otherwise"
            )
        if mount.source:
            folders.setdefault(mount.source, folder)
    return folders


def _docker_run(run: PrintedRun) -> str:
    restart = ["--restart unless-stopped"] if run.mode != "command" else []
    name = f"docker run --detach --init --name dlimg-{run.name}"
    command = shlex.join(run.command_with_secrets)
    lines = [name, *restart, *docker_options(run), shlex.quote(run.spec.image), command]
    return f"  {joined_lines(lines, indent=4)}"


def _tunnel(run: PrintedRun) -> str:
    forwards = [
        f"-L {port.host or port.container}:127.0.0.1:{port.host or port.container}"
        for port in run.spec.ports
    ]
    return " ".join(("ssh -N", *forwards, "USER@VM")) if forwards else "ssh USER@VM"
