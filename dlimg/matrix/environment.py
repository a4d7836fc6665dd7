"""`env:` of a family: variables that its images set, each with its value and the reason."""

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
# What the layout sets in some image, or leaves to who starts one. A test holds this against it.
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
_HIDDEN_NAME: Final = (
    r"(?i:.*(?:TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|NETRC"
    r"|(?:API|ACCESS|PRIVATE|SIGNING)[_-]?KEY).*|.*_AUTH)"
)
_HIDDEN_VALUE: Final = r"(?i:.*[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@.*)"


def read_variables(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], what: str
) -> tuple[StatedVariable, ...]:
    """The variables, by name; problems are noted in the form."""
    found = []
    for name, entry in form.table(node, f"env of {what}").items():
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        about = f"{name} in env of {what}"
        _judge_name(form, line, name, what)
        table = form.table(entry, about, needed=("value",))
        if isinstance(entry, YamlMapping) and "why" not in table:
            hint = "add `why:` with the reason: it changes what every user of the image sees"
            form.refuse(entry.line, f"{about} does not say why", hint)
        value = form.text(table.get("value"), f"value of {about}")
        if re.fullmatch(_HIDDEN_VALUE, value):
            hint = "everyone who pulls the image can read it; give it to `docker run` instead"
            form.refuse(entry.line, f"{about} holds a password", hint)
        variable = EnvVar(name=name, value=value, why=form.prose(table.get("why"), "why"))
        match = read_selector(form, entry, axes, about, (*AXES, *KEYS))
        found.append(StatedVariable(variable=variable, match=match))
    return tuple(found)


def _judge_name(form: Validator, line: int, name: str, what: str) -> None:
    if not form.fits(line, f"the name in env of {what}", name, patterns.VARIABLE):
        return
    if name in LAYOUT_NAMES or name.startswith(LAYOUT_PREFIX):
        hint = "take it out; who starts a container may give it another value"
        form.refuse(line, f"{name} is the layout's own to set, not for env of {what}", hint)
    elif re.fullmatch(_HIDDEN_NAME, name):
        hint = "everyone who pulls the image can read it; give it to `docker run` instead"
        form.refuse(line, f"{name} in env of {what} has the name of a secret", hint)
