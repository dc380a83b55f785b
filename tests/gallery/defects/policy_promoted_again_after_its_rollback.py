"""A run that was retried promotes the policy that people had rolled back from an hour before.

Its decision still says `release` and its signatures still count. It comes back by a rollback that
somebody asks for, and not by a retry.
"""

from dataclasses import replace

from tests.gallery.record_gates import RELEASES
from tests.gallery.worlds import World

GATE = "promotion"


def plant(world: World) -> World:
    return replace(world, promoted_again=RELEASES[1])
