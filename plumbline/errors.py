"""The exceptions that Plumbline raises for people.

::

    PlumblineError
    ├── ConfigError              unknown key, out of range, or a knob that would have no effect
    ├── DataError
    │   ├── InvalidFeedback      names the event and the field
    │   ├── InvalidPreferences   names the pair and the rule
    │   └── SplitLeakage         names the prompts that stand on two sides
    ├── ArtifactError
    │   ├── ArtifactNotFound     nothing with this digest is in the store
    │   └── DigestMismatch       expected, found, and where
    ├── GateRefused              a certificate is missing, failed, stale or unreadable; no step was spent
    ├── TrainingError            the worker's own message and the path of its log
    ├── MaskBreach               the mask receipt shows tokens that must not be trained, or none that must
    ├── InsufficientEvidence     which estimate, how many samples it had, how many it needs
    └── LineageError             a record that the walk needs is missing or disagrees

Every message says what was found, where, and what to do. The command line prints it without a traceback.
"""


class PlumblineError(Exception):
    """Any condition that a person, not a programmer, has to act on."""


class ConfigError(PlumblineError):
    """A profile, rubric or suite file is invalid."""


class DataError(PlumblineError):
    """Input data breaks a contract."""


class InvalidFeedback(DataError):
    """A feedback event breaks its schema; names the file, the row and the field."""


class InvalidPreferences(DataError):
    """A preference pair breaks a rule; names the pair and the rule."""


class SplitLeakage(DataError):
    """One prompt stands in more than one split."""


class ArtifactError(PlumblineError):
    """The artifact store cannot give what was asked for."""


class ArtifactNotFound(ArtifactError):
    """Nothing with this digest is in the store."""


class DigestMismatch(ArtifactError):
    """Bytes on disk differ from the digest that names them."""


class GateRefused(PlumblineError):
    """A required certificate is missing, failed, stale or unreadable."""


class TrainingError(PlumblineError):
    """A training or evaluation job ended without a verified result."""


class MaskBreach(TrainingError):
    """The mask receipt breaks a rule, so the job stopped before its first step."""


class InsufficientEvidence(PlumblineError):
    """An estimate has fewer samples than its gate needs."""


class LineageError(PlumblineError):
    """The lineage walk met a record that is missing or disagrees."""
