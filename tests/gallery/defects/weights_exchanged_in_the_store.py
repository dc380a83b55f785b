"""The weights of the released policy were exchanged in the artifact store after its release.

The manifest names the digest of every file; the walk over the lineage re-hashes them.
"""

from dataclasses import replace

from tests.gallery.worlds import World
from tests.unit.audit.chain import Chain

GATE = "lineage walk"


def plant(world: World) -> World:
    return replace(world, tamper=exchange)


def exchange(chain: Chain) -> None:
    weights = chain.folder("aligned_policy") / "model" / "model.safetensors"
    weights.chmod(0o644)
    weights.write_text("other")
