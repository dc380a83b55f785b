"""`make demo`: the whole chain of the profile in one process, with live progress and a summary for
people."""

import sys

from rich.console import Console

from plumbline.errors import PlumblineError
from resources.home import Home


def main() -> int:
    """Run the chain; 0 when it came to a decision, 1 when a stage failed, 2 on wrong configuration
    or input."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 118)
    try:
        home = Home.from_environment()
        home.profile()
        from dagster_project.commands.chain import (
            run_chain,  # loads the definitions, which read the profile
        )

        return 0 if run_chain(console, home) else 1
    except PlumblineError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2


if __name__ == "__main__":
    sys.exit(main())
