"""A whole lineage in a store, and the walk through it."""

import pytest

from plumbline.audit.walk import walk
from tests.unit.audit.chain import build


@pytest.fixture
def chain(tmp_path):
    return build(tmp_path / "store")


def findings(chain, name="release", witnesses=None):
    return walk(chain.store, chain.digests[name], witnesses).findings
