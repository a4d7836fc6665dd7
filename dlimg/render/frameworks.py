"""The frameworks of a project: images/<framework>/framework.yaml, read and checked."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from dlimg.document import patterns
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, parse_yaml
from dlimg.errors import BadInput
from dlimg.image_files import ImageFiles
from dlimg.model import EnvVar, Framework

SETTINGS: Final = "framework.yaml"
ADAPTER: Final = "framework.py"
IMAGE_CHECKS: Final = "image_checks"
_KEYS: Final = (
    "module",
    "facts",
    "fixed_packages",
    "provides",
    "variables",
    "compiler",
    "trains",
    "cuda_env",
    "image_checks_of",
)


def read_frameworks(images: ImageFiles) -> Mapping[str, Framework]:
    """Return the frameworks by their folder under `images`.

    Raises BadInput with every problem of the files.
    """
    frameworks = {}
    problems = []
    paths = images.matching(f"*/{SETTINGS}").values()
    folders = [path.parent.name for path in paths]
    for path in paths:
        folder = path.parent
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"it cannot be read: {error}", where=str(path)) from error
        validator = Validator(str(path), ())
        framework = parse_framework(text, folder.name, validator, folders)
        frameworks[folder.name] = replace(framework, image_checks=_image_checks(images, framework))
        problems += validator.problems
    if problems:
        raise BadInput.of(problems)
    return frameworks


def _image_checks(images: ImageFiles, framework: Framework) -> tuple[tuple[str, str], ...]:
    """Return the names and texts of the framework's scripts; its own come before shared ones.

    Raises BadInput if one is unreadable.
    """
    folders = filter(None, (framework.image_checks_of, framework.folder))
    paths = {
        path.stem: path
        for folder in folders
        for path in images.matching(f"{folder}/{IMAGE_CHECKS}/*.py").values()
    }
    checks = []
    for name, path in sorted(paths.items()):
        try:
            checks.append((name, path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"it cannot be read: {error}", where=str(path)) from error
    return tuple(checks)


def parse_framework(
    text: str, name: str, validator: Validator, folders: Collection[str] = ()
) -> Framework:
    """Return the framework that a `framework.yaml` describes; problems go to the validator.

    `folders` are those of all frameworks, which may be named.
    """
    node, problems = parse_yaml(text, validator.source)
    validator.problems += problems
    table = validator.table(node, SETTINGS, known=_KEYS, needed=("module",))
    provides = validator.table(table.get("provides"), "provides")
    cuda_env = validator.table(table.get("cuda_env"), "cuda_env")
    return Framework(
        folder=name,
        facts=validator.text(table.get("facts"), "facts"),
        module=validator.text(table.get("module"), "module"),
        fixed_packages=validator.texts(table.get("fixed_packages"), "fixed_packages"),
        provides=tuple((key, validator.text(value, key)) for key, value in provides.items()),
        variables=validator.texts(table.get("variables"), "variables"),
        needs_compiler=validator.text(table.get("compiler"), "compiler") == "true",
        trains=validator.text(table.get("trains"), "trains", "true") == "true",
        image_checks_of=validator.choice(table.get("image_checks_of"), "image_checks_of", folders),
        cuda_env=tuple(
            _variable(validator, key, validator.table(value, key, known=("value", "why")))
            for key, value in cuda_env.items()
            if validator.fits(value.line, "the name in cuda_env", key, patterns.VARIABLE)
        ),
    )


def _variable(validator: Validator, name: str, table: Mapping[str, Node]) -> EnvVar:
    value, why = table.get("value"), table.get("why")
    return EnvVar(
        name=name,
        value=validator.text(value, f"value of {name}"),
        why=validator.prose(why, f"why of {name}"),
    )
