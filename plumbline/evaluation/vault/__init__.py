"""The eval vault: pinned, budgeted suites that one function opens."""
