"""Which modules of the library a module can import, and the digest of their bytes.

A cached result may be used again exactly while the code that made it is the same. That code is what
the module can import: neither more (a change elsewhere must not train again) nor less (a change in
the reader of the pairs must). Imports are read from the source and not from a running process, so
that the parent, which imports nothing of it, comes to the same digest as the worker.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from plumbline.records import canonical_json, sha256
from plumbline.storage.code_identity import ROOT

PACKAGE = "plumbline"


@functools.cache
def import_closure(*modules: str, project: Path = ROOT) -> dict[str, Path]:
    """Files of the modules of the library that some modules can import, themselves among them, by
    module name.

    Imports inside functions count, and so does the `__init__` of every package on the way. Imports
    for type checkers do not, for nothing runs them.

    Args:
        modules: Names of modules, for example `plumbline.training.worker`.
        project: Folder of the package.

    Raises:
        FileNotFoundError: If one of the modules is not in the library.
    """
    closure: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in closure:
            path = _file(module, project)
            if path is None:
                raise FileNotFoundError(f"{project}: there is no module {module}")
            closure[module] = path
            waiting += _packages(module)
            waiting += [name for name in _imported(module, path) if _file(name, project)]
    return dict(sorted(closure.items()))


@functools.cache
def closure_digest(*modules: str, project: Path = ROOT) -> str:
    """Digest of the bytes of every module that some modules can import: a part of the key of what
    they made."""
    files = import_closure(*modules, project=project)
    return sha256(
        canonical_json(
            {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        )
    )


def _file(module: str, project: Path) -> Path | None:
    place = project.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imported(module: str, path: Path) -> Iterator[str]:
    """Names of the library that a module imports; a name that is no module is an attribute of
    one."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module, is_package=path.name == "__init__.py")
            if _ours(source):
                yield source
                yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _source(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    """The module after `from`, in full also where it is given by dots."""
    if not node.level:
        return node.module or ""
    # One dot is the package itself: the module in an `__init__`, the parent elsewhere.
    parts = [*module.split("."), ""] if is_package else module.split(".")
    return ".".join([*parts[: len(parts) - node.level], *([node.module] if node.module else [])])


def _ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE
