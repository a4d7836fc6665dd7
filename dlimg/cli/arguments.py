"""The words of each command; only argparse is imported here, as in `dlimg.cli.main`."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from dlimg.errors import BadInput


def patterns(one: argparse.ArgumentParser) -> None:
    one.add_argument("patterns", nargs="*", metavar="PATTERN", help="cells, by id")
    one.add_argument("--group", metavar="GROUP", help="a named group of the matrix")


def output_format(one: argparse.ArgumentParser, *others: str) -> None:
    choices = ("table", "json", *others)
    one.add_argument("--format", choices=choices, default="table", help="how to print (table)")


def engine_choice(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--no-private-engine",
        action="store_true",
        help="never start an engine of dlimg's own where none answers",
    )


def find_links(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--find-links",
        action="append",
        default=[],
        metavar="DIR",
        help="an extra folder of wheels (also UV_FIND_LINKS, PIP_FIND_LINKS)",
    )


def report(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE: JUnit (.xml), a GitHub summary (.md) or JSON (.json)",
    )


def bare(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--bare", metavar="FAMILY", help="no engine: run the checks by this machine's own Python"
    )
    one.add_argument(
        "--python", metavar="FILE", help="with --bare: the Python that has the framework"
    )


def own_checks(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--checks", metavar="DIR", help="a folder with checks of your own, run with the others"
    )


def base(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--base",
        choices=("auto", "registry", "bootstrap"),
        default="auto",
        help="where base images come from: a registry, the distribution's packages, or the first "
        "of the two that answers (auto)",
    )


def compression(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--compression",
        metavar="METHOD",
        help="that of the layers: gzip, zstd, or zstd with a level, as zstd:9 (the matrix's, gzip)",
    )


def builder(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--builder",
        choices=("auto", "layers", "buildkit"),
        default="auto",
        help="how images are made: from a layer for each wheel, by BuildKit, or the first of the "
        "two wherever an image and the engine allow it (auto)",
    )


def no_engine(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--no-engine",
        action="store_true",
        help="assemble on this machine as root, without any engine, on a base made from the "
        "distribution's packages; images go into the store of layers, and no check is run",
    )
    one.add_argument(
        "--output",
        metavar="FOLDER",
        help="with --no-engine: also write the images as an OCI layout, a new one or one to add to",
    )


def without_no_engine(one: argparse.ArgumentParser) -> None:
    """Known, so that it is refused with its reason, but not offered."""
    one.add_argument("--no-engine", action="store_true", help=argparse.SUPPRESS)


def question(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="a requirement (torch==2.6.0), a cell or tag of the matrix, or an environment of an "
        "old tutorial (tensorflow-1.0)",
    )
    for name, example in (
        ("cuda", "12.4, cu124 or cpu"),
        ("cudnn", "9 or 9.1.0"),
        ("python", "3.13"),
        ("os", "ubuntu24.04"),
        ("gpu", "T4, 'RTX 4090' or sm_89"),
        ("driver", "550.54.15, or 550 for its newest"),
        ("arch", "x86_64 or aarch64"),
    ):
        one.add_argument(f"--{name}", metavar=name.upper(), help=f"e.g. {example}")


def machine(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="GPU",
        help="by name or architecture: 'RTX 4090', sm_89; twice for a machine with two kinds",
    )
    one.add_argument("--driver", metavar="VERSION", help="e.g. 550.54.15, or 550")
    one.add_argument("--python", metavar="VERSION", help="e.g. 3.13")
    one.add_argument(
        "--here", action="store_true", help="look at the GPUs and driver of this machine"
    )


def recording(one: argparse.ArgumentParser) -> None:
    either = one.add_mutually_exclusive_group()
    either.add_argument(
        "--record", metavar="FILE", help="also write down each image's digest and layers"
    )
    either.add_argument(
        "--verify",
        metavar="FILE",
        help="assemble anew what FILE has, in an empty store, and say what comes out differently",
    )


def device(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--device", metavar="NAME", help="the GPU to use, by its CDI name (found by itself)"
    )


def add_words(one: ArgumentParser, command: str) -> None:
    """Adds all that a command takes to its parser."""
    _WORDS[command](one)


def _list(one: ArgumentParser) -> None:
    patterns(one)
    one.add_argument("--dropped", action="store_true", help="show what was dropped, and why")
    output_format(one)


def _show(one: ArgumentParser) -> None:
    one.add_argument("cell", metavar="CELL", help="its id, or a pattern that fits no other")
    output_format(one)


def _size(one: ArgumentParser) -> None:
    patterns(one)
    one.add_argument(
        "--having",
        action="append",
        default=[],
        metavar="PATTERN",
        help="show what a machine pulls that has these images already",
    )
    one.add_argument("--svg", metavar="FILE", help="also write a picture of all layers to FILE")
    output_format(one)


def _checks(one: ArgumentParser) -> None:
    patterns(one)
    own_checks(one)
    output_format(one)


def _facts(one: ArgumentParser) -> None:
    one.add_argument("subject", nargs="?", metavar="SUBJECT", help="one of them; none: all")
    one.add_argument("names", nargs="*", metavar="NAME", help='rows of it, e.g. "RTX 4090", 2.6.0')
    one.add_argument(
        "--keep", action="store_true", help="write the JSON beside edited YAML, and nothing else"
    )
    one.add_argument(
        "--refresh", action="store_true", help="ask the package index; add rows for new releases"
    )
    one.add_argument("--check", action="store_true", help="with --refresh: write nothing")
    one.add_argument("--commit", action="store_true", help="with --refresh: a commit for each row")
    output_format(one)


def _why(one: ArgumentParser) -> None:
    question(one)
    output_format(one)


def _pick(one: ArgumentParser) -> None:
    one.add_argument("family", nargs="?", metavar="FAMILY", help="of this family only")
    machine(one)
    one.add_argument("--all", action="store_true", help="every Python, system and flavour, too")
    output_format(one)


def _lint(one: ArgumentParser) -> None:
    one.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="how to print (text)"
    )
    one.add_argument("--strict", action="store_true", help="warnings fail, too")
    one.add_argument(
        "--index", action="store_true", help="also ask the package index and registries"
    )
    one.add_argument("--explain", metavar="ID", help="print the page of a finding, and end")
    one.add_argument("--pages", metavar="DIR", help="write the pages of all findings, and end")


def _lock(one: ArgumentParser) -> None:
    patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether locks are current")
    one.add_argument("--upgrade", action="store_true", help="resolve anew what is current, too")
    one.add_argument(
        "--bases", action="store_true", help="pin the registry's digests of base images instead"
    )
    engine_choice(one)
    find_links(one)


def _render(one: ArgumentParser) -> None:
    patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether they are current")


def _plan(one: ArgumentParser) -> None:
    patterns(one)
    base(one)
    builder(one)
    output_format(one, "bake", "github")


def _making(one: ArgumentParser) -> None:
    """What all commands take that walk from a cell to its image."""
    patterns(one)
    one.add_argument("--jobs", type=int, default=2, metavar="N", help="builds at once (2)")
    base(one)
    builder(one)
    compression(one)
    find_links(one)
    engine_choice(one)
    output_format(one)
    report(one)


def _build(one: ArgumentParser) -> None:
    _making(one)
    recording(one)
    no_engine(one)


def _test(one: ArgumentParser) -> None:
    _making(one)
    without_no_engine(one)
    device(one)
    own_checks(one)
    bare(one)


def _publish(one: ArgumentParser) -> None:
    _making(one)
    without_no_engine(one)
    device(one)
    own_checks(one)
    one.add_argument("--to", required=True, metavar="REGISTRY", help="e.g. ghcr.io/team")
    one.add_argument(
        "--require",
        choices=("gpu", "no-gpu"),
        default="gpu",
        help="whether a CUDA image must have passed its checks on a GPU (gpu)",
    )
    one.add_argument(
        "--no-evidence",
        action="store_true",
        help="lay no evidence beside the image, for a registry that takes none",
    )


def _bench(one: ArgumentParser) -> None:
    _making(one)
    device(one)
    bare(one)


def _inspect(one: ArgumentParser) -> None:
    one.add_argument(
        "reference", metavar="REF", help="one in the engine, or HOST/NAME:TAG at a registry"
    )
    output_format(one)


def _engine(one: ArgumentParser) -> None:
    one.add_argument(
        "action",
        choices=("up", "status", "down", "purge"),
        help="start it; say whether it runs; stop it; stop it and remove all that it holds",
    )
    output_format(one)


def _layers(top: ArgumentParser) -> None:
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, about: str) -> ArgumentParser:
        return actions.add_parser(
            name,
            help=about,
            description=about,
            allow_abbrev=False,
            formatter_class=top.formatter_class,
        )

    output_format(action("list", "Show what is kept, and which cells use it."))
    about = "Read every byte; what is damaged is named and removed."
    output_format(action("verify", about))
    one = action("prune", "Remove what no cell of the matrix uses.")
    one.add_argument("--all", action="store_true", help="remove what cells use, too")
    output_format(one)
    one = action("export", "Write assembled images as an OCI layout that others read.")
    one.add_argument("patterns", nargs="+", metavar="PATTERN", help="cells, by id")
    one.add_argument("folder", metavar="FOLDER", help="a new one, or a layout to add to")
    compression(one)
    output_format(one)


_WORDS: Final[Mapping[str, Callable[[ArgumentParser], None]]] = {
    "list": _list,
    "show": _show,
    "size": _size,
    "checks": _checks,
    "facts": _facts,
    "why": _why,
    "pick": _pick,
    "lint": _lint,
    "lock": _lock,
    "render": _render,
    "plan": _plan,
    "build": _build,
    "test": _test,
    "publish": _publish,
    "bench-gpu": _bench,
    "inspect": _inspect,
    "engine": _engine,
    "prune": output_format,
    "layers": _layers,
}


def refuse_empty(arguments: Namespace, names: Iterable[str]) -> None:
    """Raises BadInput for an option that says nothing, as of a variable that was never set."""
    empty = [f"--{name}" for name in names if getattr(arguments, name) == ""]
    if empty:
        raise BadInput(f"{', '.join(empty)}: nothing is said", hint="give a value, or leave it out")


def refuse_options(arguments: Namespace, names: Iterable[str], why: str) -> None:
    """Raises BadInput for an option that what was named leaves no room for."""
    given = [f"--{name}" for name in names if getattr(arguments, name)]
    if given:
        raise BadInput(f"{', '.join(given)}: {why}", hint="leave them out")
