"""Files of `images/` as rows and as data."""

from typing import Final

from dlimg.pipeline.templates import TemplateFile

TEMPLATE_HEADINGS: Final = ("file of images/", "from", "replaces dlimg's")


def template_row(file: TemplateFile) -> tuple[str, ...]:
    """Return a file's row in the list."""
    return (file.name, file.origin, "yes" if file.replaces else "-")


def template_json(file: TemplateFile) -> dict[str, object]:
    """Return a file as data."""
    return {
        "file": file.name,
        "from": file.origin,
        "replaces": file.replaces,
        "path": str(file.path),
    }
