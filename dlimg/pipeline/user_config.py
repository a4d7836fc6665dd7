"""The user's settings: $XDG_CONFIG_HOME/dlimg/config.yaml, and variables that override it."""

from dataclasses import dataclass
from typing import Final

from dlimg.context import Context
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import parse_yaml
from dlimg.errors import BadInput
from dlimg.registry.reference import check_destination

FILE: Final = "config.yaml"
REGISTRY: Final = "DLIMG_REGISTRY"
_KEYS: Final = ("registry",)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """The settings of a user; `registry` has images of dlimg's own matrix, empty for none."""

    registry: str = ""


def read_user_config(context: Context) -> UserConfig:
    """Return the user's settings. Raises BadInput with every problem of the file."""
    registry, where = context.environment.get(REGISTRY, ""), REGISTRY
    if not registry:
        registry, where = _registry_of_file(context)
    if registry:
        check_destination(registry, where=where)
    return UserConfig(registry=registry)


def _registry_of_file(context: Context) -> tuple[str, str]:
    """Return the registry of the file, and its place."""
    path = context.config / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"it cannot be read: {error}", where=str(path)) from error
    node, problems = parse_yaml(text, str(path))
    validator = Validator(str(path), problems)
    table = validator.table(node, FILE, known=_KEYS)
    registry = validator.text(table.get("registry"), "registry")
    if validator.problems:
        raise BadInput.of(validator.problems)
    return registry, f"{path}:{table['registry'].line}" if registry else ""
