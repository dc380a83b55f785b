"""Programs that run the project: demo, UI, snapshot and the command line."""
