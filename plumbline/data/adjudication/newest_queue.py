"""The adjudication queue of the newest preference data of a profile."""

from plumbline.data.adjudication.decisions import QueueItem, read_queue
from plumbline.errors import ArtifactNotFound, DigestMismatch
from plumbline.lineage.newest import newest_artifact
from plumbline.profile.profile import load_profile
from plumbline.schema.kinds import ADJUDICATION_QUEUE_FILE, PREFERENCE_DATA
from plumbline.storage.artifacts import ArtifactStore, hash_file
from plumbline.storage.home import HomeLayout


def latest_adjudication_queue(layout: HomeLayout) -> tuple[QueueItem, ...]:
    """Every item of the queue in the newest preference data that was made under the profile as it
    is now, decided or not.

    Newest is what a run recorded last; the file is re-hashed before it is read.

    Raises:
        ArtifactNotFound: If there are no such data, or they were made before there was a queue.
        DigestMismatch: If the file changed after it was written.
    """
    store = ArtifactStore(layout.store)
    digest, artifact = newest_artifact(
        store, PREFERENCE_DATA, load_profile(layout.profile).digest()
    )
    if ADJUDICATION_QUEUE_FILE not in artifact.files:
        raise ArtifactNotFound(
            f"{digest}: has no {ADJUDICATION_QUEUE_FILE}; materialize preference_data again"
        )
    path = store.root / "trees" / artifact.tree.removeprefix("sha256:") / ADJUDICATION_QUEUE_FILE
    entry = hash_file(path)
    if entry != artifact.files[ADJUDICATION_QUEUE_FILE]:
        raise DigestMismatch(
            f"{path}: is {entry.digest}, expected"
            f" {artifact.files[ADJUDICATION_QUEUE_FILE].digest}; restore it,"
            " or materialize preference_data again"
        )
    return read_queue(path)
