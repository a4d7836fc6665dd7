"""Pulls of images for runs, with a forecast of size and time, and progress."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import docker

from dlimg.context import Context
from dlimg.engine.client import Engine, free_bytes
from dlimg.errors import DlimgError, NetworkFailure
from dlimg.host.ssh import SshHost
from dlimg.pipeline.run_evidence import save_evidence
from dlimg.registry.blobs import read_blob_blocks
from dlimg.registry.http import Repository, address_and_authorization, open_registry
from dlimg.registry.manifests import Descriptor, parse_descriptors, read_manifest, select_platform
from dlimg.registry.reference import ImageReference, parse_reference
from dlimg.run.data_fetch import DownloadProgress
from dlimg.run.doctor import UNPACKED
from dlimg.units import bytes_text, seconds_text

_PROBE_SECONDS: Final = 1.5
_ANSWER_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PullForecast:
    """The bytes of an image's layers, and the measured bytes per second."""

    size: int
    rate: float

    def text(self, name: str, free: int | None) -> str:
        """Return the sizes of the download and of the unpacked image, and the time."""
        seconds = f", about {seconds_text(self.size / self.rate)}" if self.rate else ""
        speed = f" at {bytes_text(int(self.rate))}/s{seconds}" if self.rate else ""
        unpacked = int(self.size * UNPACKED)
        room = f" of {bytes_text(free)} that are free" if free is not None else ""
        return (
            f"pulling {name}: {bytes_text(self.size)} to fetch{speed}; "
            f"unpacked it takes about {bytes_text(unpacked)}{room}"
        )


def pull(name: str, engine: Engine, context: Context) -> str:
    """Pull an image and log the progress; return why that failed, or an empty text.

    Raises NetworkFailure if the registry does not answer.
    """
    reference = parse_reference(name)
    forecast = measure(reference, engine.ssh, context) if reference.host else None
    context.log(forecast.text(name, free_bytes(engine)) if forecast else f"pulling {name}")
    api: Any = engine.sdk.api
    repository = str(reference).removesuffix(f":{reference.tag}").partition("@")[0]
    try:
        events = api.pull(repository, tag=reference.version, stream=True, decode=True)
        reason = follow_pull(events, name, forecast.size if forecast else 0, context.log)
    except docker.errors.NotFound as error:
        return str(error.explanation or "it does not exist")
    except docker.errors.APIError as error:
        message = f"{name_of(engine)} cannot pull {name}: {error.explanation}"
        raise NetworkFailure(message, hint=_pull_hint(reference, engine)) from error
    if not reason and reference.host:
        save_evidence(reference, context)
    return reason


def name_of(engine: Engine) -> str:
    """Return the name of this engine in messages."""
    return f"the engine of {engine.ssh.destination}" if engine.ssh else "the engine"


def _pull_hint(reference: ImageReference, engine: Engine) -> str:
    host = reference.host or "docker.io"
    login = f"a private one needs `docker login {host}`"
    if not engine.ssh:
        return f"check the name and the network; {login}"
    name = engine.ssh.destination
    return f"check that {name} reaches {host} (`dlimg doctor --on {name}`); {login} there"


def is_published(name: str, context: Context) -> bool:
    """Return whether a registry has an image under this name, as far as it answers."""
    reference = parse_reference(name)
    if not reference.host:
        return False
    try:
        with open_registry(reference.host, context) as registry:
            repository = Repository(registry=registry, name=reference.name)
            return read_manifest(repository, reference.version) is not None
    except DlimgError:
        return False


def measure(
    reference: ImageReference, host: SshHost | None, context: Context
) -> PullForecast | None:
    """Return the forecast for an image; None if its registry does not tell the sizes.

    The rate is that of the machine that will pull: this one, or the `host`.
    """
    try:
        with open_registry(reference.host, context) as registry:
            repository = Repository(registry=registry, name=reference.name)
            manifest = read_manifest(repository, reference.version)
            if manifest is None:
                return None
            layers = parse_descriptors(select_platform(repository, manifest).content.get("layers"))
            largest = max(layers, key=lambda layer: layer.size, default=None)
            size = sum(layer.size for layer in layers)
            if largest is None:
                return PullForecast(size=size, rate=0.0)
            rate = _rate_there(host, repository, largest) if host else _rate(repository, largest)
            return PullForecast(size=size, rate=rate)
    except DlimgError:
        return None  # the engine's own error says more


def _rate(repository: Repository, layer: Descriptor) -> float:
    """Return the bytes per second at which a layer begins to come."""
    size, began = 0, time.monotonic()
    blocks: Any = read_blob_blocks(repository, layer.digest)
    with closing(blocks):
        for block in blocks:
            size += len(block)
            if time.monotonic() - began > _PROBE_SECONDS:
                break
    return size / max(time.monotonic() - began, 0.001)


def _rate_there(host: SshHost, repository: Repository, layer: Descriptor) -> float:
    """Return the same rate as another machine measures it; 0 without curl there.

    The registry's header goes over standard input: arguments are for all users to read.
    """
    url, authorization = address_and_authorization(repository, f"blobs/{layer.digest}")
    lines = [
        f'url = "{url}"',
        *([f'header = "Authorization: {authorization}"'] if authorization else []),
        *("location", "silent", "fail", 'output = "/dev/null"'),
        f"max-time = {_PROBE_SECONDS}",
        'write-out = "%{speed_download}"',
    ]
    arguments = ["curl", "--disable", "--config", "-"]
    completed = host.run(arguments, stdin="\n".join(lines), timeout=_ANSWER_SECONDS)
    try:
        return float(completed.stdout)
    except ValueError:
        return 0.0


@dataclass(kw_only=True)
class LayerSizes:
    """The downloaded bytes of each layer, from the engine's events."""

    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any]) -> int:
        """Return the bytes that were downloaded since the last event of this layer."""
        if event.get("status") != "Downloading":
            return 0
        current = int((event.get("progressDetail") or {}).get("current") or 0)
        layer = str(event.get("id", ""))
        before, self.sizes[layer] = self.sizes.get(layer, 0), current
        return max(current - before, 0)


def follow_pull(
    events: Iterator[Mapping[str, Any]], name: str, total: int, log: Callable[[str], None]
) -> str:
    """Log the progress of a pull every few seconds; return the engine's error, or an empty text."""
    progress = DownloadProgress(name=name, total=total or -1, log=log)
    sizes, is_unpacking = LayerSizes(), False
    for event in events:
        if event.get("error"):
            return str(event["error"])
        size = sizes.add(event)
        if size:  # docker by ssh says no bytes
            progress.add(size)
        if event.get("status") == "Extracting" and not is_unpacking:
            is_unpacking = True
            log(f"{name}: unpacking")
    return ""
