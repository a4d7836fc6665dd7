"""CPU and memory of `list` and `render`, against a bare PyYAML and Jinja2 loop that does the same.

`python bench/matrix_cost.py` needs nothing but dlimg's own environment. Every figure is the median
of five fresh processes. The bare loop loads the same matrix with PyYAML's C loader, multiplies the
axes with `itertools.product`, formats ids, reads the same locks with `json`, and renders the same
templates with the values they ask for, without any check, fact or message.
"""

import json
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from os import devnull
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parent.parent
ROUNDS = 5
WHEELS = 40

HEAD = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
families:
"""
FAMILY = """\
  family%d:
    framework: none
    axes:
      version: [%s]
      accelerator: [cpu]
      python: ["3.12", "3.13"]
      os: [debian13]
      flavour: [runtime, compile]
    packages:
      cpu: ["made-up=={version}"]
"""
AXES = ("version", "accelerator", "python", "os", "flavour")


def make_project(folder: Path, cells: int) -> None:
    """Make a matrix of this many cells (100 for each family), templates, and one lock for all."""
    versions = ", ".join(f"1.{number}" for number in range(25))
    families = max(1, cells // 100)
    text = "".join(FAMILY % (number, versions) for number in range(families))
    (folder / "matrix.yaml").write_text(HEAD + text)
    layout = folder / "images/_layout"
    layout.mkdir(parents=True)
    for path in (ROOT / "images/_layout").iterdir():
        (layout / path.name).write_text(path.read_text())
    for number in range(families):
        family = folder / f"images/family{number}"
        family.mkdir()
        (family / "Dockerfile.j2").write_text((ROOT / "images/jax/Dockerfile.j2").read_text())
    wheels = [
        {
            "name": f"w{n}",
            "version": "1.0",
            "file": f"w{n}-1.0-py3-none-any.whl",
            "size": n + 1,
            "sha256": "0" * 64,
        }
        for n in range(WHEELS)
    ]
    lock = {
        "format": 1,
        "name": "all",
        "inputs": "sha256:" + "0" * 64,
        "python": "3.13",
        "platform": "x86_64-manylinux_2_28",
        "wheels": wheels,
    }
    (folder / "lock.json").write_text(json.dumps(lock))


def bare_cells(folder: Path) -> Any:
    import itertools

    import yaml

    tree = yaml.load((folder / "matrix.yaml").read_text(), Loader=yaml.CSafeLoader)
    for name, family in tree["families"].items():
        for version, accelerator, python, system, flavour in itertools.product(
            *(family["axes"][axis] for axis in AXES)
        ):
            suffix = "" if flavour == "runtime" else f"-{flavour}"
            cell_id = f"{name}-{version}-{accelerator}-py{python}-{system}{suffix}"
            image = tree["operating_systems"][system]["image"]
            yield SimpleNamespace(
                id=cell_id,
                family=name,
                flavour=flavour,
                is_cuda=False,
                managed_python="",
                notes=(),
                os=SimpleNamespace(base_name=image),
                python=python,
            )


def bare_list(folder: Path) -> None:
    for cell in bare_cells(folder):
        print(cell.id)


def file(name: str, text: str) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, template=name, text=text, mode="644", path=f"/etc/dlimg/{name}"
    )


def bare_render(folder: Path) -> None:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder / "images")),
        autoescape=False,  # noqa: S701  # Dockerfiles, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    layout = [
        file(path.name, path.read_text())
        for path in sorted((folder / "images/_layout").iterdir())
        if path.suffix != ".j2"
    ]
    for cell in bare_cells(folder):
        lock = json.loads((folder / "lock.json").read_text())
        requirements = [
            f"{wheel['name']}=={wheel['version']} --hash=sha256:{wheel['sha256']}"
            for wheel in lock["wheels"]
        ]
        text = environment.get_template(f"{cell.family}/Dockerfile.j2").render(
            cell=cell,
            cell_files=[file("requirements.txt", "\n".join((*requirements, "")))],
            command_file="/opt/command",
            command_lines=['CMD ["bash"]'],
            commands_folder="/usr/local/bin",
            cuda_home="",
            dpkg_settings=layout[0],
            environment_lines=[("The search path", "PATH=/usr/bin")],
            epoch=0,
            labels=[f'io.dlimg.cell="{cell.id}"'],
            layout_files=layout,
            layout_links=[],
            local_wheels=False,
            packages="python3",
            packages_folder="/run/packages",
            python="/usr/bin/python3",
            template_folder=cell.family,
        )
        print(len(text))


def our_list(folder: Path) -> None:
    from dlimg.cli.main import main

    main(["--matrix", str(folder / "matrix.yaml"), "list"])


def our_render(folder: Path) -> None:
    from dlimg.image_files import ImageFiles
    from dlimg.lock.lockfile import parse_lock
    from dlimg.pipeline.project import read_project
    from dlimg.render.dockerfile import load_templates, render_dockerfile

    environment = load_templates(ImageFiles((folder / "images",)))
    for cell in read_project(str(folder / "matrix.yaml")).resolution.cells:
        lock = parse_lock((folder / "lock.json").read_text(), source="lock.json")
        print(len(render_dockerfile(cell, lock, environment)))


def measure(work: Callable[[Path], None], folder: Path, queue: Any) -> None:
    with Path(devnull).open("w", encoding="utf-8") as null:
        sys.stdout = null
        work(folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    queue.put((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000))


def cost(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Return the median CPU seconds, interpreter start included, and the peak MB."""
    context = get_context("spawn")
    figures = []
    for _ in range(ROUNDS):
        queue = context.Queue()
        process = context.Process(target=measure, args=(work, folder, queue))
        process.start()
        figures.append(queue.get())
        process.join()
    seconds, peaks = zip(*figures, strict=True)
    return statistics.median(seconds), statistics.median(peaks)


def main() -> None:
    print("what    cells   ours s   bare s  ratio  ours MB  bare MB")
    for name, ours, bare in (
        ("list", our_list, bare_list),
        ("render", our_render, bare_render),
    ):
        for cells in (100, 1000, 10000):
            with tempfile.TemporaryDirectory() as folder:
                make_project(Path(folder), cells)
                seconds, megabytes = cost(ours, Path(folder))
                bare_seconds, bare_megabytes = cost(bare, Path(folder))
            print(
                f"{name:7} {cells:5} {seconds:8.2f} {bare_seconds:8.2f} "
                f"{seconds / bare_seconds:6.2f} {megabytes:8.0f} {bare_megabytes:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
