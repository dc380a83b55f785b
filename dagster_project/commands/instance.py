"""The Dagster instance of a profile, initialised once."""

import os
import shutil

import dagster as dg
from filelock import FileLock

from assets.lineage.partitions import FEEDBACK_BATCHES
from plumbline.storage.code_identity import ROOT
from resources.home import Home


def prepare_instance(home: Home) -> dg.DagsterInstance:
    """Create DAGSTER_HOME from the template if it is not there, and open the instance.

    Webserver, daemon and command line that meet an empty DAGSTER_HOME at the same time race in
    Dagster's own migrations, so the first one creates the schema under a lock.
    """
    folder = home.layout.dagster
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    with FileLock(folder / ".initialise.lock"):
        if not (folder / "dagster.yaml").exists():
            shutil.copyfile(ROOT / "dagster.yaml", folder / "dagster.yaml")
        instance = dg.DagsterInstance.get()
        # Touching each storage creates its schema.
        instance.get_run_records(limit=1)
        instance.get_dynamic_partitions(FEEDBACK_BATCHES)
        instance.all_instigator_state()
    return instance
