"""An engine on another machine, by its own `docker` command over ssh.

`SshApi` answers the requests of runs as the SDK's low-level client does, with the same values and
errors. Nothing but ssh and a container engine is needed there.
"""

import contextlib
import csv
import io
import json
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, cast

import docker

from dlimg.context import Context, Log
from dlimg.engine.client import Engine, check_engine
from dlimg.errors import NetworkFailure, NoEngine
from dlimg.host.pipes import PipeReader, feed
from dlimg.host.process import ProcessResult, open_pipe
from dlimg.host.ssh import SSH_FAILED, SshHost, connect, connection_failure

_JSON: Final = "{{json .}}"
_RECONNECT_SECONDS: Final = (1, 2, 4, 8, 15, 30)
_LOG_SECONDS: Final = 5.0
_NO_SUCH: Final = ("No such container", "No such image", "No such object")
_NO_IMAGE: Final = ("manifest unknown", ": not found", "does not exist", "access denied")

# Prints the words of the docker command that reaches an engine.
_FIND_DOCKER: Final = """
PATH=$PATH:/usr/local/bin:/snap/bin
command -v docker >/dev/null || { echo 'it has no docker' >&2; exit 1; }
try() {
    version=$("$@" version --format '{{json .}}' 2>/dev/null) || return
    printf '%s\\n%s\\n' "$*" "$version"
    exit 0
}
docker=$(command -v docker)
try "$docker"
error=$("$docker" version 2>&1 >/dev/null)
case $error in *'permission denied'*) try sudo -n "$docker" ;; esac
echo "$error" >&2
exit 1
"""

Piece = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SshApi:
    """The requests that runs make of an engine, as `docker` commands on its machine."""

    host: SshHost
    log: Log

    def version(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", json.loads(self._docker("version", "--format", _JSON)))

    def info(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", json.loads(self._docker("info", "--format", _JSON)))

    def inspect_image(self, name: str) -> Mapping[str, Any]:
        return self._inspect("image", name)

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        return self._inspect("container", container)

    def _inspect(self, kind: str, name: str) -> Mapping[str, Any]:
        rows = json.loads(self._docker(kind, "inspect", "--", name))
        return cast("Mapping[str, Any]", rows[0])

    def create_host_config(self, **options: Any) -> Mapping[str, Any]:  # noqa: ANN401 - the SDK's
        return options

    def create_container(self, **options: Any) -> Mapping[str, str]:  # noqa: ANN401 - the SDK's
        return {"Id": self._docker("create", *create_words(options)).strip()}

    def start(self, container: str) -> None:
        self._docker("start", container)

    def stop(self, container: str, *, timeout: int) -> None:
        self._docker("stop", "-t", str(timeout), container)

    def kill(self, container: str, signal: str) -> None:
        self._docker("kill", "--signal", signal, container)

    def wait(self, container: str) -> Mapping[str, int]:
        return {"StatusCode": int(self._docker("wait", container))}

    def remove_container(self, container: str, *, v: bool = False, force: bool = False) -> None:
        options = (*(("--volumes",) if v else ()), *(("--force",) if force else ()))
        self._docker("rm", *options, container)

    def containers(
        self,
        *,
        all: bool,  # noqa: A002 - the SDK's name
        filters: Mapping[str, str],
    ) -> list[Mapping[str, Any]]:
        arguments = [f"--filter={name}={value}" for name, value in filters.items()]
        arguments += ["--all"] if all else []
        # All fields as JSON would have sizes, which the engine would compute for each container.
        text = self._docker("ps", "--no-trunc", *arguments, "--format", "{{.ID}} {{.State}}")
        rows = (line.split() for line in text.splitlines())
        return [{"Id": row[0], "State": row[1]} for row in rows]

    def pull(
        self, repository: str, *, tag: str, stream: bool, decode: bool
    ) -> Iterator[Mapping[str, str]]:
        """Pull an image; yield what docker says, and raise its error at the end."""
        del stream, decode
        separator = "@" if tag.startswith("sha256:") else ":"
        argv = self.host.argv([*self.host.docker, "pull", "--", f"{repository}{separator}{tag}"])
        reader = PipeReader(open_pipe(argv, env=self.host.environment))
        errors, progress = b"", LayerProgress(log=self.log)
        try:
            for out, err in reader:
                errors += err or b""
                for line in (out or b"").decode(errors="replace").splitlines():
                    progress(line)
                    yield {"status": line.partition(": ")[2]}
            code = reader.child.wait()
        finally:
            reader.close()
        if code:
            text = errors.decode(errors="replace")
            raise self._pull_error(
                ProcessResult(argv=tuple(argv), returncode=code, stdout="", stderr=text)
            )

    def _pull_error(self, completed: ProcessResult) -> Exception:
        if completed.returncode == SSH_FAILED:
            return connection_failure(self.host.destination, completed)
        text = completed.stderr.strip().removeprefix("Error response from daemon: ")
        if any(part in text for part in _NO_IMAGE):
            return docker.errors.NotFound(text, explanation=text)
        return docker.errors.APIError(text, explanation=text)

    def volumes(self, *, filters: Mapping[str, str]) -> Mapping[str, Any]:
        arguments = [f"--filter={name}={value}" for name, value in filters.items()]
        names = self._docker("volume", "ls", "--quiet", *arguments).split()
        rows = json.loads(self._docker("volume", "inspect", "--", *names)) if names else []
        return {"Volumes": rows}

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        self._docker("volume", "create", *_pairs("--label", labels), "--", name)

    def remove_volume(self, name: str, *, force: bool = False) -> None:
        self._docker("volume", "rm", *(["--force"] if force else []), "--", name)

    def import_image_from_data(self, data: bytes, *, repository: str, tag: str) -> None:
        self._feed([data], "import", "-", f"{repository}:{tag}")

    def put_archive(self, container: str, path: str, data: Iterable[bytes]) -> None:
        """Unpack a tar into a container."""
        self._feed(data, "cp", "-", f"{container}:{path}")

    def _feed(self, blocks: Iterable[bytes], *arguments: str) -> None:
        """Run a `docker` command that reads these blocks."""

        def write(pipe: IO[bytes]) -> None:
            for block in blocks:
                pipe.write(block)

        argv = self.host.argv([*self.host.docker, *arguments])
        completed = feed(argv, write, env=self.host.environment)
        if completed.returncode != 0:
            raise self._error(completed)

    def diff(self, container: str) -> list[Mapping[str, Any]]:
        kinds = {"C": 0, "A": 1, "D": 2}
        lines = (line.partition(" ") for line in self._docker("diff", container).splitlines())
        return [{"Path": path, "Kind": kinds[kind]} for kind, _, path in lines if kind in kinds]

    def get_archive(self, container: str, path: str) -> tuple[Iterator[bytes], object]:
        """Return the tar of a path. Raises NotFound if the container has none."""
        argv = self.host.argv([*self.host.docker, "cp", "--", f"{container}:{path}", "-"])
        reader = PipeReader(open_pipe(argv, env=self.host.environment))
        pieces, errors = iter(reader), b""
        for out, err in pieces:
            if out:
                return self._rest_of(out, pieces, reader), {}
            errors += err or b""
        reader.close()
        text = errors.decode(errors="replace")
        raise self._error(
            ProcessResult(
                argv=tuple(argv), returncode=reader.child.returncode, stdout="", stderr=text
            )
        )

    def _rest_of(
        self, first: bytes, pieces: Iterator[Piece], reader: PipeReader
    ) -> Iterator[bytes]:
        yield first
        yield from (out for out, _ in pieces if out)
        reader.close()
        if reader.child.returncode:
            raise NetworkFailure(f"the connection to {self.host.destination} broke while copying")

    def logs(
        self,
        container: str,
        *,
        stream: bool,
        follow: bool,
        timestamps: bool,
        tail: str | int,
    ) -> Iterator[bytes]:
        """Yield the lines of a container's output; a broken connection is opened again."""
        del stream
        arguments = [*(["--timestamps"] if timestamps else []), f"--tail={tail}"]
        output = FollowedLogs(
            host=self.host,
            container=container,
            arguments=arguments,
            log=self.log,
            follow=follow,
            in_order=True,
        )
        rest = b""
        with contextlib.closing(output):
            for out, _ in output:
                *lines, rest = (rest + (out or b"")).split(b"\n")
                yield from (line + b"\n" for line in lines)
        if rest:
            yield rest

    def attach(self, container: str, **_options: Any) -> "FollowedLogs":  # noqa: ANN401
        """Return the output of a container from its first byte on, once it has started."""
        return FollowedLogs(
            host=self.host, container=container, arguments=(), log=self.log, follow=True
        )

    def _docker(self, *arguments: str) -> str:
        completed = self.host.run([*self.host.docker, *arguments])
        if completed.returncode != 0:
            raise self._error(completed)
        return completed.stdout

    def _error(self, completed: ProcessResult) -> Exception:
        if completed.returncode == SSH_FAILED:
            return connection_failure(self.host.destination, completed)
        text = completed.stderr.strip().removeprefix("Error response from daemon: ")
        if any(word in text for word in _NO_SUCH) or "Could not find the file" in text:
            return docker.errors.NotFound(text, explanation=text)
        return docker.errors.APIError(text, explanation=text)


@dataclass(kw_only=True)
class LayerProgress:
    """Logs how many layers a pull has, from the lines that docker prints without a terminal."""

    log: Log
    layers: int = 0
    complete: int = 0
    logged: float = 0.0

    def __call__(self, line: str) -> None:
        self.layers += "Pulling fs layer" in line
        if "Pull complete" not in line:
            return
        self.complete += 1
        if time.monotonic() - self.logged > _LOG_SECONDS or self.complete == self.layers:
            self.logged = time.monotonic()
            self.log(f"{self.complete} of {self.layers} layers are there")


@dataclass(kw_only=True)
class FollowedLogs:
    """The output of a container over ssh, in pieces; what came is counted.

    `in_order` makes one stream of standard output and standard error.
    After a broken connection the engine sends all once more, and as many bytes are skipped.
    """

    host: SshHost
    container: str
    arguments: Sequence[str]
    log: Log
    follow: bool
    in_order: bool = False
    reader: PipeReader | None = None
    is_closed: bool = False
    out_bytes: int = 0
    err_bytes: int = 0

    def __iter__(self) -> Iterator[Piece]:
        failures = 0
        while True:
            received = self.out_bytes + self.err_bytes
            yield from self._pieces()
            if not (self.follow and self._is_broken()):
                return
            failures = 1 if self.out_bytes + self.err_bytes > received else failures + 1
            self._reconnect(failures)

    def _pieces(self) -> Iterator[Piece]:
        """Yield the output that is new since the last connection."""
        follow = ["--follow"] if self.follow else []
        arguments = [*self.host.docker, "logs", *follow, *self.arguments, self.container]
        if self.in_order:
            arguments = ["sh", "-c", 'exec "$@" 2>&1', "sh", *arguments]
        # Messages of ssh itself would look like the container's standard error.
        argv = self.host.argv(arguments, quiet=True)
        self.reader = PipeReader(open_pipe(argv, env=self.host.environment))
        skip_out, skip_err = self.out_bytes, self.err_bytes
        for out, err in self.reader:
            new_out, new_err = (out or b"")[skip_out:], (err or b"")[skip_err:]
            skip_out = max(skip_out - len(out or b""), 0)
            skip_err = max(skip_err - len(err or b""), 0)
            self.out_bytes += len(new_out)
            self.err_bytes += len(new_err)
            if new_out or new_err:
                yield new_out or None, new_err or None
        self.reader.child.wait()

    def _is_broken(self) -> bool:
        code = self.reader.child.returncode if self.reader else 0
        return not self.is_closed and (code == SSH_FAILED or code < 0)

    def _reconnect(self, failures: int) -> None:
        """Open the connection again, within a minute. Raises NetworkFailure."""
        name = self.host.destination
        self.log(f"the connection to {name} is broken; the run goes on there; connecting again")
        for seconds in _RECONNECT_SECONDS[failures - 1 :]:
            time.sleep(seconds)
            try:
                connect(self.host)
            except NetworkFailure:
                continue
            self.log(f"connected to {name} again")
            return
        hint = "the run goes on there: `dlimg logs -f RUN` finds it again"
        raise NetworkFailure(f"{name} does not answer any more", hint=hint)

    def close(self) -> None:
        self.is_closed = True
        if self.reader:
            self.reader.close()


def create_words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of `docker create` for the SDK's options of a container."""
    host = options["host_config"]
    entrypoint = tuple(options.get("entrypoint") or ())
    arguments = [
        *_option("--name", options.get("name")),
        *_option("--user", options.get("user")),
        *_option("--workdir", options.get("working_dir")),
        *_option("--stop-timeout", options.get("stop_timeout")),
        *_option("--entrypoint", entrypoint[0] if entrypoint else None),
        *(["--tty"] if options.get("tty") else []),
        *(["--interactive"] if options.get("stdin_open") else []),
        *_pairs("--env", options.get("environment") or {}),
        *_pairs("--label", options.get("labels") or {}),
        *(["--init"] if host.get("init") else []),
        *_option("--shm-size", host.get("shm_size")),
        *_option("--runtime", host.get("runtime")),
    ]
    for mount in host["mounts"]:
        arguments += ["--mount", _mount_text(mount)]
    for container, bindings in (host.get("port_bindings") or {}).items():
        for address, port in bindings:
            arguments += ["--publish", f"{_in_brackets(address)}:{port or ''}:{container}"]
    for request in host.get("device_requests") or ():
        arguments += _device_words(request)
    return (*arguments, "--", options["image"], *entrypoint[1:], *options["command"])


def _option(name: str, value: object) -> list[str]:
    return [] if value in {None, ""} else [name, str(value)]


def _pairs(option: str, values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield from (option, f"{name}={value}")


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _mount_text(mount: Mapping[str, Any]) -> str:
    """Return the value of `--mount`, which docker reads as a line of CSV."""
    fields = [f"type={mount['Type']}", f"target={mount['Target']}"]
    if mount.get("Source"):
        fields.append(f"source={mount['Source']}")
    if mount.get("ReadOnly"):
        fields.append("readonly")
    tmpfs = mount.get("TmpfsOptions") or {}
    if tmpfs:
        fields += [f"tmpfs-size={tmpfs['SizeBytes']}", f"tmpfs-mode={tmpfs['Mode']:o}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _device_words(request: Mapping[str, Any]) -> list[str]:
    if request.get("Driver") == "cdi":
        return [word for name in request["DeviceIDs"] for word in ("--device", name)]
    return ["--gpus", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSdk:
    """The parts of the SDK's client that runs use."""

    api: SshApi

    def info(self) -> Mapping[str, Any]:
        return self.api.info()

    def version(self) -> Mapping[str, Any]:
        return self.api.version()


def engine_over_ssh(host: SshHost, context: Context) -> Engine:
    """Return the engine of a machine. Raises NoEngine with what to do there."""
    arguments, version = _docker_there(host)
    host = replace(host, docker=arguments)
    sdk = SshSdk(api=SshApi(host=host, log=context.log))
    check_engine(version, host.address)
    return Engine(
        host=host.address,
        private=False,
        version=str(version["Version"]),
        docker=Path("docker"),
        context=context,
        root="",
        sdk=cast("docker.DockerClient", sdk),
        architecture=str(version.get("Arch", "unknown")),
        ssh=host,
    )


def _docker_there(host: SshHost) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return the docker command of another machine, and the version of its engine.

    With sudo, where the user needs it and no password is asked for.
    """
    completed = host.script(_FIND_DOCKER)
    *_, arguments, version = ["", "", *completed.stdout.splitlines()]
    if completed.returncode == 0 and arguments:
        return tuple(arguments.split()), json.loads(version)["Server"]
    reason = completed.stderr.strip() or "it has no docker"
    name = host.destination
    hint = f"`dlimg doctor --on {shlex.quote(name)}` says what is missing there, and its remedy"
    if "permission denied" in reason:
        reason, hint = (
            "its user may not use docker",
            f"`ssh -t {name} sudo usermod -aG docker \\$USER`, then connect again",
        )
    raise NoEngine(f"{name}: {reason.splitlines()[-1]}", hint=hint)
