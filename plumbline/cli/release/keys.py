"""`plumbline release key` and `plumbline release trust`: the keys of a person, and whose signatures
count."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of
from plumbline.errors import SignatureRefused
from plumbline.lineage.ledger import Ledger
from plumbline.release.signing.keys import (
    create_key,
    keys_folder,
    needs_passphrase,
    own_keys,
    public_text,
    read_public_key,
)
from plumbline.release.signing.trust import load_trust, save_trust
from plumbline.text.unsafe_characters import printable

key_app = typer.Typer(
    no_args_is_help=True,
    help="Keys with which a person signs. They lie in PLUMBLINE_KEYS, or ~/.config/plumbline/keys.",
)
trust_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Whose signatures count, and in which role. PLUMBLINE_TRUST names another file than"
        " trust.json of the profile."
    ),
)

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File whose first line protects the private key; /dev/stdin will do.",
        exists=True,
        dir_okay=False,
    ),
]


def passphrase_in(path: Path | None) -> bytes | None:
    """The first line of a passphrase file; None without a file.

    Raises:
        SignatureRefused: If the line is empty.
    """
    if path is None:
        return None
    line = path.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise SignatureRefused(f"{path}: its first line is empty; the passphrase stands there")
    return line


@key_app.command("create")
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the key, for example alice.")
    ],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a key pair. The private half never leaves this folder; whoever keeps the trust file
    needs the public half."""
    folder = keys_folder()
    identifier = create_key(folder, name, passphrase_in(passphrase_file))
    typer.echo(
        f"key {name}: {identifier}\nprivate {folder / name}.pem (only you can read it)\npublic "
        f" {folder / name}.pub"
    )
    if passphrase_file is None:
        typer.echo(
            "it is not protected by a passphrase: whoever copies the private file can sign as you",
            err=True,
        )
    typer.echo(
        "next: the keeper of the trust file runs `plumbline release trust add YOUR-NAME"
        f" {folder / name}.pub --role ROLE`"
    )


@key_app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")]) -> None:
    """The id of a key and its public half on one line, as `plumbline release trust add`
    takes it."""
    path = keys_folder() / f"{name}.pub"
    if name not in own_keys(keys_folder()):
        raise SignatureRefused(
            f"{path}: there is no such key; there are:"
            f" {', '.join(own_keys(keys_folder())) or 'none'}"
        )
    key = read_public_key(path.read_text())
    typer.echo(f"{own_keys(keys_folder())[name]}\n{public_text(key)}")


@key_app.command("list")
def list_keys() -> None:
    """The keys of this person."""
    folder = keys_folder()
    keys = own_keys(folder)
    for name, identifier in keys.items():
        typer.echo(
            f"{name}  {identifier}  {'with' if needs_passphrase(folder, name) else 'without'}"
            " passphrase"
        )
    if not keys:
        typer.echo(f"{folder}: no keys; `plumbline release key create NAME` makes one")


@trust_app.command("add")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The person, as every record will say it.")
    ],
    public_key: Annotated[
        str,
        typer.Argument(
            metavar="PUBLIC_KEY",
            help="File with the public key (NAME.pub), or its one line of base64.",
        ),
    ],
    roles: Annotated[
        list[str],
        typer.Option(
            "--role",
            help=(
                "reviewer reads failure cases, approver approves, owner may override gates; may be"
                " repeated."
            ),
        ),
    ],
    accounts: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            help=(
                "Another name under which this person launches runs, so that nobody signs for an"
                " own model."
            ),
        ),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Let the signatures of a key count; a person can have several keys and roles."""
    layout = layout_of(home, profile)
    before = load_trust(layout.trust)
    text = Path(public_key).read_text() if Path(public_key).is_file() else public_key
    after = before.with_key(name, text, roles, accounts or ())
    save_trust(
        layout.trust, after, before, Ledger(layout.ledger), f"add {name} as {', '.join(roles)}"
    )
    typer.echo(
        printable(f"{name} is trusted as {', '.join(after.people[name].roles)} in {layout.trust}")
    )
    typer.echo(f"trust {after.digest()}")


@trust_app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person.")],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Let no signature of a person count any more, made or to come. What was released stays
    released."""
    layout = layout_of(home, profile)
    before = load_trust(layout.trust)
    after = before.without(name)
    save_trust(layout.trust, after, before, Ledger(layout.ledger), f"remove {name}")
    typer.echo(printable(f"{name} is no longer trusted in {layout.trust}"))
    typer.echo(f"trust {after.digest()}")


@trust_app.command("list")
def list_people(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Who is trusted, in which roles, with which keys."""
    layout = layout_of(home, profile)
    trust = load_trust(layout.trust)
    typer.echo(f"{layout.trust}: {len(trust.people)} people, trust {trust.digest()}")
    for name, person in trust.people.items():
        also = f"  launches runs as {', '.join(person.accounts)} too" if person.accounts else ""
        typer.echo(printable(f"{name}  {', '.join(person.roles)}  {', '.join(person.keys)}{also}"))
