"""`lint --index`: what the package index and the registries of base images say today."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dlimg.engine.folders import cache_folder
from dlimg.engine.index import Index, open_index
from dlimg.engine.offers import Offer as Listed
from dlimg.engine.offers import index_addresses, offers
from dlimg.errors import DlimgError, NetworkFailure
from dlimg.lint.finding import Asked, Ground, Offer
from dlimg.lock.pylock import Found
from dlimg.model import Wheel
from dlimg.registry.manifests import digest_of_name
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.registry.session import Repository, opened

AT_ONCE: Final = 16
_REGISTRY_SECONDS: Final = 10
Say = Callable[[str], None]


def asked(ground: Ground, environment: Mapping[str, str], *, say: Say) -> Asked:
    """The answers that came; who did not answer is named in `unanswered`, and is no failure."""
    wheels = tuple({w.file: w for lock in ground.locks.values() for w in lock.wheels}.values())
    remote = tuple(wheel for wheel in wheels if not wheel.local)
    unanswered: list[str] = []
    found: dict[str, Offer] = {}
    records: dict[str, str] = {}
    say(f"asking the index for {len(remote)} wheels")
    try:
        index = open_index(environment, cache_folder(environment) / "wheels")
        listed = _listed(index, index_addresses(environment), remote)
        found = {wheel.file: _offer(wheel, listed.get(wheel.name, {})) for wheel in remote}
        records = _records(index, remote, listed)
    except NetworkFailure as error:
        unanswered.append(f"the package index: {error.problems[0].message}")
    digests = dict(_digests(ground, environment, unanswered))
    return Asked(offers=found, records=records, digests=digests, unanswered=tuple(unanswered))


def _listed(
    index: Index, addresses: Sequence[str], wheels: Sequence[Wheel]
) -> Mapping[str, Mapping[str, Listed]]:
    """The index's files of each project, by the file's name."""
    names = sorted({wheel.name for wheel in wheels})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = pool.map(lambda name: offers(index, addresses, name), names)
        return {
            name: {one.file: one for one in page} for name, page in zip(names, pages, strict=True)
        }


def _offer(wheel: Wheel, listed: Mapping[str, Listed]) -> Offer:
    one = listed.get(wheel.file)
    if one is None:
        return Offer(state="gone")
    if one.sha256 and one.sha256 != wheel.sha256:
        return Offer(state="gone", reason="a file of the same name has another sha256")
    if one.yanked:
        reason = "" if one.yanked in {"yanked", "true"} else one.yanked
        return Offer(state="yanked", reason=" ".join(reason.split()))
    return Offer(state="there")


def _records(
    index: Index, wheels: Sequence[Wheel], listed: Mapping[str, Mapping[str, Listed]]
) -> dict[str, str]:
    """RECORDs by the wheel's sha256, of the wheels that are still there."""
    there = [
        Found(
            name=wheel.name,
            version=wheel.version,
            file=wheel.file,
            sha256=wheel.sha256,
            address=listed[wheel.name][wheel.file].address,
        )
        for wheel in wheels
        if wheel.file in listed.get(wheel.name, {})
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = pool.map(index.read, there)
        return {one.sha256: read.record for one, read in zip(there, contents, strict=True)}


def _digests(
    ground: Ground, environment: Mapping[str, str], unanswered: list[str]
) -> Iterator[tuple[str, str]]:
    """What each pinned system's tag leads to now; an empty text where it is gone."""
    pinned = {cell.os.name for cell in ground.resolution.cells if cell.os.digest}
    silent: set[str] = set()
    for system in ground.matrix.operating_systems.values():
        place = parse_reference(system.image)
        if not place.host:
            place = parse_reference(f"{DOCKER_HUB}/{system.image}")
        if system.name not in pinned or place.host in silent:
            continue
        try:
            with opened(place.host, environment, seconds=_REGISTRY_SECONDS) as registry:
                repository = Repository(registry=registry, name=place.name)
                found = digest_of_name(repository, place.tag)
        except DlimgError as error:
            silent.add(place.host)
            unanswered.append(f"the registry {place.host}: {error.problems[0].message}")
        else:
            yield system.name, found
