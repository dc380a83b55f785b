"""`plumbline feedback serve`, and the keys and tasks of the service."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened, profile_of
from plumbline.data.store.api_keys import SCOPES, ApiKeys, Scope
from plumbline.data.store.tasks import Tasks, read_tasks

if TYPE_CHECKING:
    from plumbline.data.store.api_keys import ApiKey

DEFAULT_PORT = 3002

key_app = typer.Typer(no_args_is_help=True, help="Keys of the feedback service.")
tasks_app = typer.Typer(
    no_args_is_help=True, help="Prompts with responses that wait for judgments."
)


def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen on. The default is reached from this machine only."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = DEFAULT_PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help=(
                "Host name that clients may use, besides the loopback names; may be given more than"
                " once."
            ),
        ),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Serve the feedback API and the pages to judge and to adjudicate, until it is interrupted."""
    import uvicorn

    from plumbline.service.app import create_app
    from plumbline.service.middleware import LOOPBACK_HOSTS

    layout = layout_of(home, profile)
    with opened(layout) as store:
        keys = [key for key in ApiKeys(store.database).all() if key.revoked_at is None]
    app = create_app(layout, profile_of(layout), hosts=(*LOOPBACK_HOSTS, *(allow_host or ())))
    if not keys:
        typer.echo(
            "there is no key yet, so that nobody can sign in; make one with `plumbline feedback key"
            " add NAME --scopes collect`",
            err=True,
        )
    if host not in ("127.0.0.1", "::1", "localhost"):
        typer.echo(
            f"{host} can be reached from other machines and speaks plain HTTP: put a proxy with TLS"
            " in front of it",
            err=True,
        )
    shown = f"[{host}]" if ":" in host else host
    typer.echo(
        f"profile {layout.profile}: judge on http://{shown}:{port}/collect, adjudicate on"
        f" http://{shown}:{port}/adjudicate"
    )
    uvicorn.run(
        app, host=host, port=port, log_level="warning", server_header=False, proxy_headers=False
    )


@key_app.command("add")
def add_key(
    name: Annotated[
        str,
        typer.Argument(
            help=(
                "Whose key it is: the pseudonym of an annotator, or the name that signs"
                " adjudications."
            )
        ),
    ],
    scopes: Annotated[
        str,
        typer.Option("--scopes", help=f"One or more of {', '.join(SCOPES)}, separated by commas."),
    ],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Make a key and print it once; only a salted hash of it is stored."""
    with opened(layout_of(home, profile)) as store:
        given = cast(
            "tuple[Scope, ...]",
            tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
        )  # create() checks them
        key, text = ApiKeys(store.database).create(name, given, datetime.now(UTC))
    typer.echo(text)
    typer.echo(
        f"key {key.id} of {key.name} may {', '.join(key.scopes)}; it is shown this once", err=True
    )


@key_app.command("list")
def list_keys(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Every key, revoked ones too; never their secrets."""
    with opened(layout_of(home, profile)) as store:
        keys = ApiKeys(store.database).all()
    for key in keys:
        typer.echo(
            f"{key.id} {key.name}: {', '.join(key.scopes)}; made"
            f" {key.created_at:%Y-%m-%d %H:%M}{_end(key)}"
        )
    if not keys:
        typer.echo("no keys")


@key_app.command("revoke")
def revoke_key(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the key, as `key list` shows it.")
    ],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """End a key at once, and the sessions that began with it."""
    with opened(layout_of(home, profile)) as store:
        key = ApiKeys(store.database).revoke(identifier, datetime.now(UTC))
    typer.echo(f"key {key.id} of {key.name}{_end(key)}")


@tasks_app.command("import")
def import_tasks(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="JSONL: prompt, responses with their sources, context and provenance.",
        ),
    ],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Add tasks to judge; all rows must be right, and importing the same file again changes
    nothing."""
    tasks = read_tasks(file)
    with opened(layout_of(home, profile)) as store:
        new = Tasks(store.database).add(tasks, datetime.now(UTC))
    typer.echo(
        f"{file.name}: {len(tasks)} tasks, {new} added, {len(tasks) - new} were there already"
    )


@tasks_app.command("list")
def list_tasks(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Every task with the number of its judgments and who gave them."""
    with opened(layout_of(home, profile)) as store:
        tasks = Tasks(store.database)
        for identifier, judges in tasks.judgments().items():
            task = tasks.get(identifier)
            policies = (
                ""
                if task is None
                else ", ".join(sorted({response.source.policy for response in task.responses}))
            )
            who = f" ({', '.join(sorted(judges))})" if judges else ""
            typer.echo(f"{identifier}: {len(judges)} judgments{who}; responses of {policies}")
        counts = tasks.counts()
    typer.echo(f"{sum(counts.values())} tasks, {counts.get(0, 0)} without a judgment")


def _end(key: "ApiKey") -> str:
    return "" if key.revoked_at is None else f"; revoked {key.revoked_at:%Y-%m-%d %H:%M}"
