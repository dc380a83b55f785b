"""Strict YAML: duplicate keys, aliases, tags and unknown fields are errors that name file and
line."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from plumbline.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]
MAX_DEPTH = 32


class _NumberLoader(yaml.SafeLoader):
    """SafeLoader that reads `1e-3` as a number; YAML 1.1 reads it as a string."""


_NumberLoader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp)
        for tag, regexp in resolvers
        if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?)$"
    ),
    list("-+0123456789."),
)


def load_record(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into a frozen pydantic model.

    Raises:
        ConfigError: If the file is missing, is not strict YAML or breaks the schema; names file,
            line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        _reject_aliases_tags_and_depth(path, text)
        root = yaml.compose(text, Loader=_NumberLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if root is None:
        raise ConfigError(f"{path}: the file is empty")
    lines: dict[Location, int] = {}
    _walk(path, root, (), lines)
    data = yaml.load(text, Loader=_NumberLoader)  # noqa: S506 - a SafeLoader
    try:
        return model.model_validate_json(json.dumps(data, allow_nan=False))
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_explain(path, problem, lines) for problem in error.errors())
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: holds a value that JSON cannot carry: {error}") from error


def _reject_aliases_tags_and_depth(path: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_NumberLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{path}:{line}: alias *{event.anchor} is not allowed; write the value out"
            )
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{path}:{line}: nested more than {MAX_DEPTH} levels deep; no configuration is"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ConfigError(
                f"{path}:{line}: tag {tag} is not allowed; a value is what it looks like"
            )


def _walk(path: Path, node: yaml.Node, location: Location, lines: dict[Location, int]) -> None:
    """Record the line of every key and reject duplicate keys."""
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if (*location, key) in lines:
                raise ConfigError(
                    f"{path}:{line}: key '{key}' stands twice, first on line"
                    f" {lines[*location, key]}; keep one"
                )
            lines[*location, key] = line
            _walk(path, value_node, (*location, key), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(path, item, (*location, index), lines)


def _explain(path: Path, problem: Any, lines: dict[Location, int]) -> str:
    location: Location = tuple(problem["loc"])
    line = 1
    for end in range(len(location), -1, -1):
        if location[:end] in lines:
            line = lines[location[:end]]
            break
    # A tagged union inserts its tag into pydantic's location; drop parts that are not in the file
    # from the displayed name.
    field = ".".join(str(part) for part in location) or "the document"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key; remove it or correct its spelling"
    return f"{path}:{line}: {field}: {message}"
