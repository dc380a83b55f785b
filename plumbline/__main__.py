"""`python -m plumbline`: the command line without Dagster and MLflow; `audit trace` then
verifies the store alone."""

from plumbline.cli.app import build_app

if __name__ == "__main__":
    build_app()()
