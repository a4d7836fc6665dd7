"""The words of each command; only argparse is imported here, as in `dlimg.cli`."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Final

from dlimg import options


def add_words(one: ArgumentParser, command: str) -> None:
    """Adds all that a command takes to its parser."""
    _WORDS[command](one)


def _list(one: ArgumentParser) -> None:
    options.patterns(one)
    one.add_argument("--dropped", action="store_true", help="show what was dropped, and why")
    options.output_format(one)


def _show(one: ArgumentParser) -> None:
    one.add_argument("cell", metavar="CELL", help="its id, or a pattern that fits no other")
    options.output_format(one)


def _size(one: ArgumentParser) -> None:
    options.patterns(one)
    one.add_argument(
        "--having",
        action="append",
        default=[],
        metavar="PATTERN",
        help="show what a machine pulls that has these images already",
    )
    one.add_argument("--svg", metavar="FILE", help="also write a picture of all layers to FILE")
    options.output_format(one)


def _checks(one: ArgumentParser) -> None:
    options.patterns(one)
    options.own_checks(one)
    options.output_format(one)


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
    options.output_format(one)


def _why(one: ArgumentParser) -> None:
    options.question(one)
    options.output_format(one)


def _pick(one: ArgumentParser) -> None:
    one.add_argument("family", nargs="?", metavar="FAMILY", help="of this family only")
    options.machine(one)
    one.add_argument("--all", action="store_true", help="every Python, system and flavour, too")
    options.output_format(one)


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
    options.patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether locks are current")
    one.add_argument("--upgrade", action="store_true", help="resolve anew what is current, too")
    one.add_argument(
        "--bases", action="store_true", help="pin the registry's digests of base images instead"
    )
    options.engine_choice(one)
    options.find_links(one)


def _render(one: ArgumentParser) -> None:
    options.patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether they are current")


def _plan(one: ArgumentParser) -> None:
    options.patterns(one)
    options.base(one)
    options.builder(one)
    options.output_format(one, "bake", "github")


def _making(one: ArgumentParser) -> None:
    """What all commands take that walk from a cell to its image."""
    options.patterns(one)
    one.add_argument("--jobs", type=int, default=2, metavar="N", help="builds at once (2)")
    options.base(one)
    options.builder(one)
    options.compression(one)
    options.find_links(one)
    options.engine_choice(one)
    options.output_format(one)
    options.report(one)


def _build(one: ArgumentParser) -> None:
    _making(one)
    options.recording(one)
    options.no_engine(one)


def _test(one: ArgumentParser) -> None:
    _making(one)
    options.without_no_engine(one)
    options.device(one)
    options.own_checks(one)
    options.bare(one)


def _publish(one: ArgumentParser) -> None:
    _making(one)
    options.without_no_engine(one)
    options.device(one)
    options.own_checks(one)
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
    options.device(one)
    options.bare(one)


def _inspect(one: ArgumentParser) -> None:
    one.add_argument(
        "reference", metavar="REF", help="one in the engine, or HOST/NAME:TAG at a registry"
    )
    options.output_format(one)


def _engine(one: ArgumentParser) -> None:
    one.add_argument(
        "action",
        choices=("up", "status", "down", "purge"),
        help="start it; say whether it runs; stop it; stop it and remove all that it holds",
    )
    options.output_format(one)


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

    options.output_format(action("list", "Show what is kept, and which cells use it."))
    about = "Read every byte; what is damaged is named and removed."
    options.output_format(action("verify", about))
    one = action("prune", "Remove what no cell of the matrix uses.")
    one.add_argument("--all", action="store_true", help="remove what cells use, too")
    options.output_format(one)
    one = action("export", "Write assembled images as an OCI layout that others read.")
    one.add_argument("patterns", nargs="+", metavar="PATTERN", help="cells, by id")
    one.add_argument("folder", metavar="FOLDER", help="a new one, or a layout to add to")
    options.compression(one)
    options.output_format(one)


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
    "prune": options.output_format,
    "layers": _layers,
}
