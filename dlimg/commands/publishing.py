"""What `publish` does beyond `test`: an image that was tested goes to its registry."""

from dlimg.commands.printing import say
from dlimg.commands.walk import Walk
from dlimg.engine.client import Engine
from dlimg.layers.store import layer_store
from dlimg.model import Built
from dlimg.proof import Evidence
from dlimg.publish.attach import evidence_beside, nothing_beside
from dlimg.publish.names import siblings
from dlimg.publish.promote import Wanted, publish
from dlimg.publish.published import Published
from dlimg.publish.source import Stock


def published(walk: Walk, built: Built, evidence: Evidence, engine: Engine) -> Published:
    """The image at the registry that the command line names; raises what `publish` raises."""
    beside = evidence_beside(walk.evidence, walk.environment, say=say)
    to = walk.arguments.to
    wanted = Wanted(
        to=to,
        require=walk.arguments.require,
        attach=nothing_beside if walk.arguments.no_evidence else beside,
        environment=walk.environment,
    )
    stock = Stock(
        store=layer_store(walk.environment),
        engine=engine,
        siblings=siblings(to, (cell.family for cell in walk.project.resolution.cells)),
        say=say,
    )
    return publish(built, evidence, stock, wanted=wanted, say=say)
