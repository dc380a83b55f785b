"""Importer of red-team prompts as held-out prompts: attacks are a kind of data of their own, and
never train.

Four layouts are told apart by the file: HarmBench behaviours (Mazeika et al. 2024, CSV),
StrongREJECT (Souly et al. 2024, CSV), instruction lists with a category (Arditi et al. 2024, JSON)
and one prompt on each line (MaliciousInstruct, Huang et al. 2023, text).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from plumbline.data.formats.fields import as_object, csv_rows, text_field
from plumbline.data.formats.import_report import Rejected, require_file
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import ParsedRow, Row, bad_row
from plumbline.errors import DataError
from plumbline.records import canonical_json
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id

_HARMBENCH: Final = (
    "Behavior",
    "FunctionalCategory",
    "SemanticCategory",
    "Tags",
    "ContextString",
    "BehaviorID",
)
_STRONGREJECT: Final = ("category", "source", "forbidden_prompt")


def redteam_rows(path: Path) -> Iterator[Row]:
    """The rows of a file of red-team prompts, each an object of {prompt, tactic, domain, source};
    an empty tactic is an ordinary prompt.

    Raises:
        DataError: If the file cannot be read or has another layout.
    """
    require_file(path)
    source = path.name.split(".")[0].lower()
    match path.suffix.lower():
        case ".csv":
            with path.open(encoding="utf-8", errors="replace", newline="") as stream:
                header = stream.readline()
            columns = _HARMBENCH if "Behavior" in header else _STRONGREJECT
            for row in csv_rows(path, columns):
                yield _row(
                    row.number,
                    row.offset,
                    _harmbench(row.value) if columns is _HARMBENCH else _strongreject(row.value),
                    source,
                )
        case ".txt":
            offset = 0
            for number, line in enumerate(
                path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1
            ):
                try:
                    yield _row(
                        number,
                        offset,
                        {"prompt": line.decode(), "tactic": "direct-request"},
                        source,
                    )
                except UnicodeDecodeError:
                    yield bad_row(number, offset, line, "not UTF-8")
                offset += len(line) + 1
        case ".json" | ".jsonl":
            for parsed in read_rows(path):
                if isinstance(parsed, ParsedRow) and isinstance(parsed.value, dict):
                    category = parsed.value.get("category")
                    tactic = "direct-request" if category is not None else ""
                    yield _row(
                        parsed.number,
                        parsed.offset,
                        {
                            "prompt": parsed.value.get("instruction"),
                            "tactic": tactic,
                            "domain": category,
                        },
                        source,
                    )
                else:
                    yield parsed
        case _:
            raise DataError(
                f"{path}: is no file of red-team prompts; expected .csv, .txt, .json or .jsonl"
            )


def redteam_prompt(value: object) -> EvalPrompt:
    """A held-out prompt: with a tactic in the slice `redteam`, to be refused; without one in
    `redteam-harmless`, to be answered.

    The tactic is the fact `attack`.

    Raises:
        Rejected: If the prompt is missing or blank.
    """
    row = as_object(value)
    text, tactic = text_field(row, "prompt").strip(), text_field(row, "tactic")
    if not text:
        raise Rejected("empty prompt")
    expected: Literal["refuse", "comply"] = "refuse" if tactic else "comply"
    return EvalPrompt(
        id=content_id(["redteam", text]),
        prompt=(Message(role="user", content=text),),
        expected=expected,
        context=Context(
            locale="en",
            domain=text_field(row, "domain"),
            slice="redteam" if tactic else "redteam-harmless",
        ),
        facts={"source": text_field(row, "source")} | ({"attack": tactic} if tactic else {}),
    )


def _harmbench(row: Mapping[str, Any]) -> dict[str, Any]:
    context = str(row["ContextString"] or "").strip()
    prompt = str(row["Behavior"] or "").strip()
    tactic = {"standard": "direct-request", "contextual": "context", "copyright": "copyright"}.get(
        str(row["FunctionalCategory"]), "unknown"
    )
    return {
        "prompt": f"{context}\n\n---\n\n{prompt}" if context and prompt else prompt,
        "tactic": tactic,
        "domain": row["SemanticCategory"],
    }


def _strongreject(row: Mapping[str, Any]) -> dict[str, Any]:
    tactic = {
        "DAN": "persona",
        "Jailbreaking via Prompt Engineering": "jailbreak",
        "MasterKey": "jailbreak",
    }.get(str(row["source"]), "direct-request")
    return {
        "prompt": row["forbidden_prompt"],
        "tactic": tactic,
        "domain": re.sub(r"[^a-z]+", "-", str(row["category"]).lower()).strip("-"),
    }


def _row(number: int, offset: int, value: dict[str, Any], source: str) -> ParsedRow:
    whole = {**value, "source": source, "domain": value.get("domain") or "unknown"}
    return ParsedRow(number, offset, canonical_json(whole), whole)
