"""Environment variables that the matrix gives to the images of a family."""

import re
from collections.abc import Mapping
from typing import Final

from dlimg.document import patterns
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping
from dlimg.matrix.model import AXES, StatedVariable
from dlimg.matrix.selectors import read_selector
from dlimg.model import EnvVar

KEYS: Final = ("value", "why")
# Set by the layout in some image, or left to the user of a container; a test compares the two.
LAYOUT_NAMES: Final = frozenset(
    {
        *("PATH", "PIP_CONSTRAINT", "PIP_DISABLE_PIP_VERSION_CHECK", "PYTHONUNBUFFERED"),
        *("LANG", "TZ", "USER", "SHELL", "HOME", "LOGNAME", "CUDA_HOME"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
        *("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"),
    }
)
LAYOUT_PREFIX: Final = "DLIMG_"
# As `runtime_secrets` finds them in an image, where everyone who pulls it can read them.
_UNSAFE_NAME: Final = (
    r"(?i:.*(?:TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|NETRC"
    r"|(?:API|ACCESS|PRIVATE|SIGNING)[_-]?KEY).*|.*_AUTH)"
)
_UNSAFE_VALUE: Final = r"(?i:.*[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@.*)"


def read_variables(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], owner: str
) -> tuple[StatedVariable, ...]:
    """Return the variables by name; problems are added to the form."""
    variables = []
    for name, entry in form.table(node, f"env of {owner}").items():
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        subject = f"{name} in env of {owner}"
        _check_name(form, line, name, owner)
        table = form.table(entry, subject, needed=("value",))
        if isinstance(entry, YamlMapping) and "why" not in table:
            hint = "add `why:` with the reason: it changes what every user of the image sees"
            form.refuse(entry.line, f"{subject} does not say why", hint)
        value = form.text(table.get("value"), f"value of {subject}")
        if re.fullmatch(_UNSAFE_VALUE, value):
            hint = "everyone who pulls the image can read it; give it to `docker run` instead"
            form.refuse(entry.line, f"{subject} holds a password", hint)
        variable = EnvVar(name=name, value=value, why=form.prose(table.get("why"), "why"))
        match = read_selector(form, entry, axes, subject, (*AXES, *KEYS))
        variables.append(StatedVariable(variable=variable, match=match))
    return tuple(variables)


def _check_name(form: Validator, line: int, name: str, owner: str) -> None:
    if not form.fits(line, f"the name in env of {owner}", name, patterns.VARIABLE):
        return
    if name in LAYOUT_NAMES or name.startswith(LAYOUT_PREFIX):
        hint = "remove it; a container may be started with another value"
        form.refuse(line, f"{name} is set by the layout, not by env of {owner}", hint)
    elif re.fullmatch(_UNSAFE_NAME, name):
        hint = "everyone who pulls the image can read it; give it to `docker run` instead"
        form.refuse(line, f"{name} in env of {owner} has the name of a secret", hint)
