"""Keys of people, and whom they are trusted as."""

from pathlib import Path

import pytest

from plumbline.release.signing.keys import (
    create_key,
)
from plumbline.release.signing.trust import Trust


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("ana", "abe", "eve"):
        create_key(tmp_path / "keys", name)
    return tmp_path / "keys"


@pytest.fixture
def trust(keys: Path) -> Trust:
    return (
        Trust(people={})
        .with_key("Ana", (keys / "ana.pub").read_text(), ["approver"])
        .with_key("Abe", (keys / "abe.pub").read_text(), ["approver"])
    )
