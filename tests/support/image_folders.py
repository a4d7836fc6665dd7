"""Folders of images and checks without the files that come with dlimg."""

from pathlib import Path

from dlimg.checks.discover import CheckFolders
from dlimg.image_files import ImageFiles


def files_in(folder: Path) -> ImageFiles:
    """Return the files of this folder alone."""
    return ImageFiles((folder,))


def checks_in(folder: Path, own: Path | None = None) -> CheckFolders:
    """Return the check scripts of this folder, and the user's own."""
    return CheckFolders(images=files_in(folder), own=own)
