"""Importers of public formats and of our own; each row is accepted or rejected with a reason, never dropped."""

from pathlib import Path

from plumbline.config import SourceFile
from plumbline.data.importers.alpaca import import_alpaca
from plumbline.data.importers.hh import import_hh, import_hh_prompts
from plumbline.data.importers.own import import_own
from plumbline.data.importers.report import Attribution, Imported, ImportReport, Rejection
from plumbline.data.importers.tulu import import_tulu
from plumbline.data.importers.xstest import import_xstest
from plumbline.data.schema import Demonstration, EvalPrompt, FeedbackEvent
from plumbline.errors import ConfigError, DataError

__all__ = [
    "Attribution",
    "ImportReport",
    "Imported",
    "Rejection",
    "import_alpaca",
    "import_demonstrations",
    "import_feedback",
    "import_held_out",
    "import_hh",
    "import_hh_prompts",
    "import_own",
    "import_tulu",
    "import_xstest",
]


def import_feedback(data: Path, source: SourceFile, attribution: Attribution) -> dict[str, Imported[FeedbackEvent]]:
    """Feedback events of a file, or of every file of a folder, by batch: each file is a batch named after it.

    Args:
        data: The folder that PLUMBLINE_DATA names.
        source: Format, path below `data`, and how many rows to take from the start of each file.
        attribution: What the files do not say.

    Raises:
        ConfigError: If the format holds no feedback.
        DataError: If there is no file, or one cannot be read.
    """
    batches: dict[str, Imported[FeedbackEvent]] = {}
    for path in _files(data, source):
        match source.format:
            case "tulu":
                imported = import_tulu(path, attribution, source.limit)
            case "hh":
                imported = import_hh(path, attribution, source.limit)
            case "jsonl":
                imported = import_own(path, FeedbackEvent, source.limit)
            case _:
                raise ConfigError(f"source {source.path}: format '{source.format}' holds no feedback; use tulu, hh or jsonl")
        name = _batch_name(path, data / source.path)
        if name in batches:
            raise DataError(f"{path}: another file makes a batch called '{name}' too; rename or remove one of them")
        batches[name] = imported
    return batches


def import_demonstrations(data: Path, source: SourceFile, attribution: Attribution) -> Imported[Demonstration]:
    """Demonstrations of one file; arguments and errors as in `import_feedback`."""
    path = data / source.path
    match source.format:
        case "alpaca":
            return import_alpaca(path, attribution, source.limit)
        case "jsonl":
            return import_own(path, Demonstration, source.limit)
        case _:
            raise ConfigError(f"source {source.path}: format '{source.format}' holds no demonstrations; use alpaca or jsonl")


def import_held_out(data: Path, source: SourceFile) -> Imported[EvalPrompt]:
    """Held-out prompts of one file; arguments and errors as in `import_feedback`."""
    path = data / source.path
    match source.format:
        case "xstest":
            return import_xstest(path, source.limit)
        case "hh":
            return import_hh_prompts(path, source.limit)
        case "jsonl":
            return import_own(path, EvalPrompt, source.limit)
        case _:
            raise ConfigError(f"source {source.path}: format '{source.format}' holds no held-out prompts; use xstest, hh or jsonl")


def _files(data: Path, source: SourceFile) -> list[Path]:
    root = data / source.path
    if root.is_file():
        return [root]
    files = sorted([*root.glob("*.jsonl"), *root.glob("*.jsonl.gz")])
    if not files:
        raise DataError(f"{root}: holds no .jsonl or .jsonl.gz file; PLUMBLINE_DATA must name the folder that holds the data of this profile")
    return files


def _batch_name(path: Path, root: Path) -> str:
    """The name of a batch: that of the file, and for a file that the source names by itself also that of its folder."""
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").lower()
    return stem if path != root else f"{path.parent.name.lower()}-{stem}"
