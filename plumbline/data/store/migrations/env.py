"""Runs the steps in the caller's transaction; alembic loads this file by its path."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
