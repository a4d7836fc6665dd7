"""Evidence about the image of a run, from this machine's checks and from its publisher."""

import contextlib
from dataclasses import replace
from pathlib import Path

from dlimg.checks.evidence import evidence_folder, read_evidence, write_evidence
from dlimg.checks.verdicts import proof_line
from dlimg.context import Context, no_log
from dlimg.errors import DlimgError
from dlimg.publish.read_image import read_attached, read_registry_image
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.reference import ImageReference


def save_evidence(reference: ImageReference, context: Context) -> None:
    """Save the evidence that is attached to an image; do nothing if its registry is silent.

    It lies apart from that of this machine's checks, which alone spares checks or is published.
    """
    with contextlib.suppress(DlimgError), open_registry(reference.host, context) as registry:
        repository = Repository(registry=registry, name=reference.name)
        content = read_registry_image(repository, reference)
        if content is None:
            return
        attached = read_attached(repository, content.subjects, content, log=no_log)
        for evidence in attached.evidence:
            # Engines name an image by the digest that was asked for.
            record = replace(evidence, digest=content.subjects[-1])
            write_evidence(_published(context), record, log=context.log, sets=None)


def evidence_line(digest: str, context: Context) -> str:
    """Return one line about the checks of an image; empty without readable evidence."""
    folders = (_published(context), evidence_folder(context))
    records = [record for folder in folders for record in read_evidence(folder, digest, log=no_log)]
    return proof_line(sorted(records, key=lambda record: record.day))


def _published(context: Context) -> Path:
    return evidence_folder(context) / "published"
