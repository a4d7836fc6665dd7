"""Words that several commands share; only argparse is imported here, as in `dlimg.cli`."""

import argparse


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
