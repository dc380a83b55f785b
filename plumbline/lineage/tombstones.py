"""Trees whose files were erased: what stays of them, so that a lineage can still be verified
without the text.

`<store>/erased/<tree hex>.json` keeps the sizes and digests of the files, which give the tree's own
digest, and the ids of the events that each file named, so that a later withdrawal still finds what
descends from them.
"""

from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from plumbline.errors import LineageError
from plumbline.records import Record
from plumbline.schema.identifiers import Digest, Text
from plumbline.storage.artifacts import FileEntry, tree_digest, write_atomically


class ErasedTree(Record):
    """That the files of one tree were removed, by whom and why."""

    tree: Digest
    files: dict[str, FileEntry] = Field(
        description="what the files were; these entries give the digest of the tree"
    )
    cited: dict[str, tuple[str, ...]] = Field(
        description="ids that each file named, by file; events are among them"
    )
    redacted: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="ids of the redacted forms that a batch held, by the id of the original",
    )
    withdrawal: int = Field(
        gt=0,
        description="number of the withdrawal that asked for it, in the feedback store named here",
    )
    feedback: Text = Field(description="the feedback store that the withdrawal is recorded in")
    by: Text
    reason: Text
    erased_at: AwareDatetime

    @model_validator(mode="after")
    def _files_give_the_tree(self) -> Self:
        actual = tree_digest(self.files)
        if actual != self.tree:
            raise ValueError(f"the list of files gives {actual}, not {self.tree}")
        return self


def erased_file(store_root: Path, tree: str) -> Path:
    """Where it is written that a tree was erased."""
    return store_root / "erased" / f"{tree.removeprefix('sha256:')}.json"


def write_erased(store_root: Path, erased: ErasedTree) -> None:
    """Record that a tree is about to be erased; the files go only after this."""
    write_atomically(erased_file(store_root, erased.tree), erased.to_json())


def read_erased(store_root: Path, tree: str) -> ErasedTree | None:
    """What is left of an erased tree; None when it was not erased.

    Raises:
        LineageError: If the record cannot be read, or stands under the name of another tree.
    """
    path = erased_file(store_root, tree)
    try:
        erased = ErasedTree.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise LineageError(
            f"{path}: is not a record of an erasure: {error}. Restore it from a copy"
        ) from error
    if erased.tree != tree:
        raise LineageError(
            f"{path}: describes {erased.tree}. The file was moved or renamed: restore it"
        )
    return erased
