"""The newest artifact of a kind, from the records in the store alone: what a run recorded last,
without asking an orchestrator."""

from plumbline.errors import ArtifactNotFound
from plumbline.lineage.materializations import materialization_files, read_materialization
from plumbline.storage.artifacts import Artifact, ArtifactStore


def newest_artifact(
    store: ArtifactStore, kind: str, config: str, partition: str | None = None
) -> tuple[str, Artifact]:
    """Digest and manifest of the newest artifact of a kind that was made under one configuration.

    Args:
        store: The artifact store.
        kind: Kind of the artifact, for example `aligned_policy`.
        config: Digest of the profile.
        partition: Only what was made for this partition; None for any.

    Raises:
        ArtifactNotFound: If no run recorded such an artifact.
    """
    made: list[tuple[int, str, Artifact]] = []
    for folder in (store.root / "productions").glob("*"):
        digest = f"sha256:{folder.name}"
        files = materialization_files(store.root, digest)
        if not files:
            continue
        artifact = store.manifest(digest)
        if artifact.kind != kind or artifact.config != config:
            continue
        times = [
            path.stat().st_mtime_ns
            for path in files
            if partition in (None, read_materialization(path, digest).partition)
        ]
        if times:
            made.append((max(times), digest, artifact))
    if not made:
        where = kind if partition is None else f"{kind}[{partition}]"
        raise ArtifactNotFound(
            f"{store.root}: no run made {where} under the profile as it is now; run `make demo`, or"
            " materialize it"
        )
    _, digest, artifact = max(made, key=lambda row: row[:2])
    return digest, artifact
