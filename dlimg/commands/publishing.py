"""What `publish` does beyond `test`: an image that was tested goes to its registry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dlimg.commands.printing import say
from dlimg.commands.proving import own_folder
from dlimg.commands.walk import Walk
from dlimg.engine.client import Engine
from dlimg.layers.store import layer_store
from dlimg.model import Built
from dlimg.proof import Check, Evidence
from dlimg.publish.attach import evidence_beside, nothing_beside
from dlimg.publish.check_runner import CheckRunner
from dlimg.publish.names import siblings
from dlimg.publish.promote import Wanted, publish
from dlimg.publish.published import Published
from dlimg.publish.source import Stock
from dlimg.smoke.containers import checks_for_image, checks_now, names_of, reference_data
from dlimg.smoke.evidence import covering, read_evidence
from dlimg.smoke.told import told_by_config
from dlimg.smoke.verdicts import is_gpu_tested


def published(
    walk: Walk,
    built: Built,
    evidence: Evidence,
    engine: Engine,
    *,
    checks: Sequence[Check],
    test: Callable[[Built], Evidence],
) -> Published:
    """The image at the registry that the command line names; raises what `publish` raises."""
    beside = evidence_beside(walk.evidence, walk.environment, revision=walk.revision, say=say)
    to = walk.arguments.to
    wanted = Wanted(
        to=to,
        require=walk.arguments.require,
        attach=nothing_beside if walk.arguments.no_evidence else beside,
        environment=walk.environment,
        runner=_runner(walk, engine, checks, test),
        notes=walk.evidence,
    )
    stock = Stock(
        store=layer_store(walk.environment),
        engine=engine,
        siblings=siblings(to, (cell.family for cell in walk.project.resolution.cells)),
        say=say,
    )
    return publish(built, evidence, stock, wanted=wanted, say=say)


def _runner(
    walk: Walk, engine: Engine, checks: Sequence[Check], test: Callable[[Built], Evidence]
) -> CheckRunner:
    images, own = walk.project.images, own_folder(walk.arguments)

    def now(built: Built) -> Sequence[Check]:
        return checks_now(built, checks, engine, images=images, own=own)

    def known(built: Built, config: Mapping[str, Any]) -> Evidence | None:
        facts = told_by_config(built.planned, config, reference_data(built.planned, engine, images))
        ready = checks_for_image(built.planned, checks, facts, images=images, own=own)
        records = read_evidence(walk.evidence, built.digest, say=say)
        found = covering(records, names_of(ready))
        best = next((one for one in found if is_gpu_tested(one)), found[-1] if found else None)
        return _required_today(best, checks) if best else None

    return CheckRunner(checks=now, test=test, known=known)


def _required_today(evidence: Evidence, checks: Sequence[Check]) -> Evidence:
    required = {check.name: check.required for check in checks}
    verdicts = tuple(
        replace(verdict, required=required[verdict.check]) for verdict in evidence.verdicts
    )
    return replace(evidence, verdicts=verdicts)
