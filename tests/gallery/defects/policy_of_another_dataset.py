"""A policy is to be trained under a rubric that was edited, on data that were collected under the
one before.

Rubric, data and policy move as one version; parents that do not belong together are refused before
the job starts.
"""

from dataclasses import replace

from tests.gallery.worlds import World
from tests.unit.audit.chain import Chain

GATE = "triple"


def plant(world: World) -> World:
    return replace(world, tamper=edit_the_rubric)


def edit_the_rubric(chain: Chain) -> None:
    released = dict(chain.digests)
    chain.publish(
        "rubric",
        {"rubric.json": {"name": "helpful-harmless", "version": 2}},
        facts={"label": "helpful-harmless@2"},
    )
    chain.digests |= {name: digest for name, digest in released.items() if name != "rubric"}
