#!/usr/local/lib/dlimg/python -BIS
"""dlimg-info [--json]: what this image is, what this machine gives it, and what to do next."""

import json
import os
import sys
from _collections_abc import Iterator, Mapping

sys.path += ["/usr/local/lib/dlimg", "/opt/env/lib/python/site-packages"]
import diagnosis
import dlimg_start
import driver
import machine

GIB = 2**30
OPTIONS = ("--json",)
# What only the starter of a container knows of its image, in variables.
PASSED_ON = {
    "reference": "DLIMG_REFERENCE",
    "content_key": "DLIMG_CONTENT_KEY",
    "digest": "DLIMG_DIGEST",
    "evidence": "DLIMG_EVIDENCE",
}
FOLDERS = ("", diagnosis.OVERLAY.rpartition("/")[0], "code", "data", "output", "tmp")


def collect(environment: Mapping[str, str], root: str = "/") -> dict[str, object]:
    """Return all that is known, in the form of `--json`."""
    image = json.loads(machine.text_of(f"{root}etc/dlimg/image.json"))
    answer = driver.Question().answer() if machine.device_files(root) else None
    found = [
        *diagnosis.gpu_findings(image, answer, environment, root),
        *diagnosis.machine_findings(image, environment, root),
    ]
    passed_on = {name: environment.get(variable) or None for name, variable in PASSED_ON.items()}
    return {
        "schema": 1,
        "image": {**image, **passed_on},
        "machine": machine_facts(answer, root),
        "installed": installed(image, environment, root),
        "findings": [
            {"name": each.name, "message": each.message, "remedy": each.remedy} for each in found
        ],
        "next": list(advice(image, passed_on, environment)),
    }


def machine_facts(answer: driver.Answer | None, root: str) -> dict[str, object]:
    """Return what this machine gives the container."""
    cpus = os.sysconf("SC_NPROCESSORS_ONLN")
    shared = machine.disk(f"{root}dev/shm")
    return {
        "gpus": [
            {"name": gpu.name, "capability": gpu.capability, "memory_bytes": gpu.memory}
            for gpu in (answer.gpus if answer else ())
        ],
        "driver": (answer.version if answer else machine.kernel_driver(root)) or None,
        "driver_cuda": (cuda_text(answer.cuda) if answer else "") or None,
        "cpus": dlimg_start.usable_cpus(root) or cpus,
        "machine_cpus": cpus,
        "memory_bytes": machine.memory(root),
        "shared_memory_bytes": shared[0] if shared else 0,
        "disks": list(disks(root)),
        "user": os.geteuid(),
    }


def cuda_text(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def disks(root: str) -> Iterator[dict[str, object]]:
    """Yield each writable disk once, by the first of its folders."""
    seen = set()
    data = [path.lstrip("/") for path in machine.mounted_folders(root)]
    for folder in dict.fromkeys((*FOLDERS, *data)):
        space = machine.disk(f"{root}{folder}")
        number = os.stat(f"{root}{folder}").st_dev if space else 0
        if space and number not in seen:
            yield {"path": f"/{folder}", "bytes": space[0], "free_bytes": space[1]}
        seen.add(number)


def installed(
    image: Mapping[str, object], environment: Mapping[str, str], root: str
) -> dict[str, list[str]]:
    """Return the packages that were installed on top of the image's, by environment."""
    given = environment.get("DLIMG_OVERLAY", "").strip("/")
    named = f"{environment.get('HOME', '').strip('/')}/envs"
    others = [f"{named}/{name}" for name in machine.names_in(f"{root}{named}")]
    places = (given, diagnosis.OVERLAY, f"tmp/home-{os.geteuid()}/env", *others)
    packages = {}
    for place in dict.fromkeys(filter(None, places)):
        folder = f"{root}{place}/lib/python{image['python']}/site-packages"
        names = [name for name in machine.names_in(folder) if name.endswith(".dist-info")]
        if names:
            packages[f"/{place}"] = [
                name.removesuffix(".dist-info").replace("-", "==", 1) for name in names
            ]
    return packages


def advice(
    image: Mapping[str, object], passed_on: Mapping[str, str | None], environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield what to do next."""
    yield "`dlimg-check` runs the image's own checks"
    overlay = environment.get("DLIMG_OVERLAY") or f"/{diagnosis.OVERLAY}"
    yield f"`pip install NAME` puts packages into {overlay}; the framework stays as it is"
    if not passed_on["digest"]:
        reference = passed_on["reference"] or "TAG"
        yield f"`dlimg inspect {reference}`, outside, shows content key, digest and evidence"
    if image["flavour"] == "workspace":
        yield "`dlimg-jupyter` starts JupyterLab, `dlimg-ssh` a server for ssh"


def rows(facts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the lines of the text: a name, and its value."""
    image, here = facts["image"], facts["machine"]
    assert isinstance(image, dict)
    assert isinstance(here, dict)
    yield from image_rows(image)
    yield from machine_rows(here)
    packages = facts["installed"]
    for place, names in packages.items() if isinstance(packages, dict) else ():
        yield f"in {place}", " ".join(names)


def image_rows(image: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    yield "image", str(image["cell"])
    yield "framework", f"{image['package']} {image['version']}"
    if image["cuda"]:
        cudnn = f", cuDNN {image['cudnn']}" if image["cudnn"] else ""
        yield "CUDA", f"{image['cuda']}{cudnn}"
    stated = image["driver"]
    if isinstance(stated, dict) and stated:
        yield "driver", f"{stated['at_least']} or newer ({stated['source']})"
    architectures = image["gpu_architectures"]
    if isinstance(architectures, list) and architectures:
        yield "GPU code", " ".join(architectures)
    yield "system", f"Python {image['python']} on {image['os']}, {image['flavour']}"
    ends = image["end_of_life"]
    for end in ends if isinstance(ends, list) else ():
        yield "fixes until", f"{end['day']}: {end['part']}"
    for name in PASSED_ON:
        if image[name]:
            yield name.replace("_", " "), str(image[name])


def machine_rows(here: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    gpus = here["gpus"]
    for gpu in gpus if isinstance(gpus, list) else ():
        size = f", {size_text(gpu['memory_bytes'])}" if gpu["memory_bytes"] else ""
        yield "GPU", f"{gpu['name']}, compute capability {gpu['capability']}{size}"
    if not gpus:
        yield "GPU", "none"
    if here["driver"]:
        cuda = f", for CUDA {here['driver_cuda']}" if here["driver_cuda"] else ""
        yield "GPU driver", f"{here['driver']}{cuda}"
    yield "CPUs", f"{here['cpus']} of {here['machine_cpus']}"
    yield "memory", size_text(here["memory_bytes"])
    yield "shared memory", size_text(here["shared_memory_bytes"])
    places = here["disks"]
    for place in places if isinstance(places, list) else ():
        free = size_text(place["free_bytes"])
        yield f"disk of {place['path']}", f"{free} free of {size_text(place['bytes'])}"


def size_text(size: object) -> str:
    number = int(str(size))
    return f"{number / GIB:.1f} GB" if number >= GIB else f"{number // 2**20} MB"


def main() -> int:
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return 0
    unknown = [option for option in sys.argv[1:] if option not in OPTIONS]
    if unknown:
        print(f"dlimg-info: {unknown[0]} is no option; there is --json", file=sys.stderr)
        return 2
    facts = collect(os.environ)
    if "--json" in sys.argv:
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in rows(facts):
        print(f"{name:<16}{value}")
    found, further = facts["findings"], facts["next"]
    for finding in found if isinstance(found, list) else ():
        print(f"\n{finding['message']}\n  hint: {finding['remedy']}")
    print("\nnext:")
    for line in further if isinstance(further, list) else ():
        print(f"- {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
