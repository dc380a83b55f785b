"""`make snapshot`: propose the newest preference data of the profile as the project's data.dvc."""

import sys

import dagster as dg

from dagster_project.commands.instance import prepare_instance
from plumbline.errors import PlumblineError
from plumbline.schema.kinds import PREFERENCE_DATA
from plumbline.storage.code_identity import ROOT
from resources.home import Home
from resources.snapshots import propose


def main() -> int:
    """Copy the data to data/, update data.dvc and push the bytes to dvc-remote/; committing them is
    the reviewed step. 2 when there is no data."""
    home = Home.from_environment()
    try:
        with prepare_instance(home) as instance:
            records = instance.fetch_materializations(dg.AssetKey(PREFERENCE_DATA), limit=1).records
        materialization = records[0].asset_materialization if records else None
        if materialization is None:
            print(
                f"profile '{home.profile_name}' has no preference data yet; run `make demo` or"
                " materialize preference_data first",
                file=sys.stderr,
            )
            return 2
        digest = str(materialization.metadata["artifact"].value)
        folder, artifact = home.store().open(digest, kind=PREFERENCE_DATA)
        with home.store().staging() as staged:
            for name in artifact.files:
                (staged / name).write_bytes((folder / name).read_bytes())
            # The manifest travels with the data, so that our SHA-256 can be checked after every
            # `dvc pull`.
            (staged / "manifest.json").write_bytes(artifact.to_json())
            version = propose(staged, ROOT)
    except PlumblineError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"data.dvc now names {version}, the files of {digest}.\nReview it, then: git add data.dvc"
        " dvc-remote && git commit"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
