"""A project's packages as a locked layer on top of an image, built once by BuildKit."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import docker

from dlimg.atomic_write import atomic_write
from dlimg.builders.progress import BuildProgress, advance, failure_log
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine, check_buildx
from dlimg.errors import BadInput, Negative
from dlimg.host.process import TIMED_OUT, run_streaming
from dlimg.run.model import ProjectLayer

LOCK: Final = "dlimg.lock"
REPOSITORY: Final = "dlimg-project"
_FORMAT: Final = 1
_SECONDS: Final = 3600
# With --quiet, pip would not say which requirements are in conflict.
_PIP_PROGRESS: Final = ("Collecting ", "  Downloading ", "  Using cached ", "Requirement already ")
# Mounted in every step that uses a network; none of them stays in the image.
_MOUNTS: Final = " ".join(
    f"--mount=type=secret,id={name},mode=0444,required=false"
    for name in ("ca", "pip.conf", "netrc", "apt.conf")
)
_SETTINGS: Final = """\
set -eu
[ ! -e /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca
[ ! -e /run/secrets/pip.conf ] || export PIP_CONFIG_FILE=/run/secrets/pip.conf
[ ! -e /run/secrets/netrc ] || export NETRC=/run/secrets/netrc
[ ! -e /run/secrets/apt.conf ] || export APT_CONFIG=/run/secrets/apt.conf
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """A package that the image lacks, with the sha256 of its wheel."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBase:
    """The image below a layer: its name, digest, user, and what a lock for it depends on."""

    name: str
    digest: str
    user: str
    kind: str


def layered_image(
    layer: ProjectLayer, image: str, folder: Path, engine: Engine, context: Context
) -> str:
    """Return the name of the image with the layer, locked and built first if that is needed."""
    base = _base(image, engine)
    locked = _locked(layer, base, folder, engine, context) if layer.packages else ()
    dockerfile = layer_dockerfile(layer, base, locked)
    digest = hashlib.sha256(f"{_FORMAT}\0{base.digest}\0{dockerfile}".encode()).hexdigest()
    name = f"{REPOSITORY}:{digest[:16]}"
    api: Any = engine.sdk.api
    try:
        api.inspect_image(name)
    except docker.errors.NotFound:
        context.log(f"adding to {image}, once: {_amount(layer, locked)}")
        _build(dockerfile, ["--tag", name], engine, context)
    return name


def _amount(layer: ProjectLayer, locked: Sequence[LockedPackage]) -> str:
    parts = [f"{package.name} {package.version}" for package in locked]
    return ", ".join([*parts, *layer.apt, *(["the setup"] if layer.setup else [])])


def _base(image: str, engine: Engine) -> LayerBase:
    api: Any = engine.sdk.api
    attributes = api.inspect_image(image)
    config = attributes.get("Config") or {}
    labels = config.get("Labels") or {}
    # An image for the CPU and one for CUDA of the same release share a lock.
    parts = [labels.get(f"io.dlimg.{name}", "") for name in ("family", "version", "python")]
    return LayerBase(
        name=image,
        digest=attributes["Id"],
        user=config.get("User") or "root",
        kind=f"{parts[0]} {parts[1]}, Python {parts[2]}" if all(parts) else attributes["Id"],
    )


def _locked(
    layer: ProjectLayer, base: LayerBase, folder: Path, engine: Engine, context: Context
) -> tuple[LockedPackage, ...]:
    """Return the packages of the lock, made anew if it is for other requirements."""
    path = folder / LOCK
    document = read_lock_file(path)
    entry = document.get(base.kind)
    if entry and entry["packages"] == list(layer.packages):
        return tuple(LockedPackage(**package) for package in entry["locked"])
    context.log(f"locking {', '.join(layer.packages)} for {base.kind}")
    locked = _resolve(layer, base, engine, context)
    rows = [asdict(package) for package in locked]
    document = {**document, base.kind: {"packages": list(layer.packages), "locked": rows}}
    text = json.dumps({"schema": _FORMAT, "images": document}, indent=2, sort_keys=True)
    atomic_write(path, f"{text}\n")
    return locked


def read_lock_file(path: Path) -> Mapping[str, Any]:
    """Return the locks of a project by kind of image. Raises BadInput for another file."""
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        images: Mapping[str, Any] = document["images"]
        for entry in images.values():
            for package in entry["locked"]:
                LockedPackage(**package)
            list(entry["packages"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "remove it: the next run writes it again"
        raise BadInput(f"it is no lock of dlimg: {error!r}", where=str(path), hint=hint) from error
    return images


def _resolve(
    layer: ProjectLayer, base: LayerBase, engine: Engine, context: Context
) -> tuple[LockedPackage, ...]:
    """Return the packages that the image's pip would install beside those of the image."""
    dockerfile = resolve_dockerfile(layer, base)
    # To standard output, because the engine may be on another machine.
    archive = _build(dockerfile, ["--output", "type=tar,dest=-"], engine, context)
    with tarfile.open(fileobj=io.BytesIO(archive.encode())) as tar:
        report = tar.extractfile("report.json")
        return parse_report(json.load(report) if report else {})


def parse_report(report: Mapping[str, Any]) -> tuple[LockedPackage, ...]:
    """Return the packages of pip's report, by name."""
    packages = [
        LockedPackage(
            name=entry["metadata"]["name"],
            version=entry["metadata"]["version"],
            sha256=entry["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for entry in report["install"]
    ]
    return tuple(sorted(packages, key=lambda package: package.name.lower()))


def resolve_dockerfile(layer: ProjectLayer, base: LayerBase) -> str:
    return f"""\
FROM {base.name} AS resolve
USER root
COPY <<'REQUIREMENTS' /tmp/packages.txt
{_lines(layer.packages)}
REQUIREMENTS
RUN {_MOUNTS} <<'STEP'
{_SETTINGS}
pip install --dry-run --only-binary :all: --report /tmp/report.json \\
    --requirement /tmp/packages.txt
STEP
FROM scratch
COPY --from=resolve /tmp/report.json /
"""


def layer_dockerfile(layer: ProjectLayer, base: LayerBase, locked: Sequence[LockedPackage]) -> str:
    """Return the Dockerfile that adds a project's packages and setup to an image."""
    parts = [f"FROM {base.name}\n"]
    if layer.apt:
        parts.append(
            f"USER root\nRUN {_MOUNTS} <<'STEP'\n{_SETTINGS}\n"
            "apt-get update -qq\n"
            f"apt-get install -qq --yes --no-install-recommends {' '.join(layer.apt)}\n"
            "rm -rf /var/lib/apt/lists/*\nSTEP\n"
        )
    if locked:
        parts.append(
            f"USER {base.user}\n"
            f"COPY <<'REQUIREMENTS' /tmp/project.txt\n{_lines(locked)}\nREQUIREMENTS\n"
            f"RUN {_MOUNTS} <<'STEP'\n{_SETTINGS}\n"
            "pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes \\\n"
            "    --requirement /tmp/project.txt\nSTEP\n"
        )
    if layer.setup:
        parts.append(
            f"USER root\nRUN {_MOUNTS} <<'SETUP-OF-THE-PROJECT'\n{_SETTINGS}\n"
            f"{_lines(layer.setup)}\nSETUP-OF-THE-PROJECT\n"
        )
    return f"{''.join(parts)}USER {base.user}\n"


def _lines(values: Sequence[object]) -> str:
    return "\n".join(map(str, values))


def _build(dockerfile: str, output: Sequence[str], engine: Engine, context: Context) -> str:
    """Build a Dockerfile without a build context; return its standard output as text.

    An engine on another machine uses that machine's settings. Raises Negative with the end of the
    log.
    """
    check_buildx(engine)
    with secrets_from(context) as secrets:
        options = () if engine.ssh else _secret_options(secrets)
        arguments = ("buildx", "build", "--progress", "rawjson", "--provenance=false")
        argv = engine.docker_argv(*arguments, *output, *options, "-")
        environment = {**engine.environment, **secrets.arguments}
        progress = BuildProgress(cell=REPOSITORY)

        def on_line(line: str) -> None:
            nonlocal progress
            progress = advance(progress, line)

        completed = run_streaming(
            argv, on_line=on_line, env=environment, stdin=dockerfile, timeout=_SECONDS
        )
    if completed.returncode != 0:
        raise layer_failure(progress, completed.returncode)
    return completed.stdout


def layer_failure(progress: BuildProgress, code: int) -> Negative:
    """Return the error of a failed build, with what pip, apt or the setup said."""
    lines = [line for line in failure_log(progress) if line and not line.startswith(_PIP_PROGRESS)]
    if code == TIMED_OUT:
        lines.append(f"it was ended after {_SECONDS} s")
    hint = "check `packages`, `apt` and `setup` in dlimg.yaml"
    return Negative("\n".join(["the project's layer is not built:", *lines]), hint=hint)


def _secret_options(secrets: Secrets) -> list[str]:
    files = [f"--secret=id={name},src={path}" for name, path in secrets.files.items()]
    # Without a value, so that a proxy's password is in no argument.
    return [*files, *(f"--build-arg={name}" for name in secrets.arguments)]
