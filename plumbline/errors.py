"""The exceptions that Plumbline raises for people.

::

    PlumblineError
    ├── ConfigError              unknown key, out of range, or a knob that would have no effect
    ├── DataError
    │   ├── InvalidFeedback      names the event and the field
    │   └── InvalidPreferences   names the pair and the rule
    ├── ArtifactError
    │   ├── ArtifactNotFound     nothing with this digest is in the store
    │   └── DigestMismatch       expected, found, and where
    ├── GateRefused              a certificate is missing, failed, stale or unreadable
    ├── JudgeUnavailable         the endpoint of a judge does not answer, or not as agreed
    ├── JudgeRefused             a judge is not reliable enough to be heard
    ├── TrainingError            the worker's own message and the path of its log
    ├── MaskBreach               the mask receipt shows tokens that must not be trained, or none
    ├── InsufficientEvidence     which estimate, how many samples it had, how many it needs
    ├── VaultRefused             a suite is not the pinned one, is worn out, or has no rule
    ├── SignatureRefused         who signed what, and why it does not count
    ├── PromotionRefused         why this policy does not become, or go back to being, the champion
    ├── LedgerError              the ledger cannot be used, or an entry was changed
    │   └── LedgerConflict       an entry of this kind and key says something else
    └── LineageError             a record that the walk needs is missing or disagrees

Every message says what was found, where, and what to do. The command line prints it without a
traceback.
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


class ArtifactError(PlumblineError):
    """The artifact store cannot give what was asked for."""


class ArtifactNotFound(ArtifactError):
    """Nothing with this digest is in the store."""


class DigestMismatch(ArtifactError):
    """Bytes on disk differ from the digest that names them."""


class GateRefused(PlumblineError):
    """A required certificate is missing, failed, stale or unreadable."""


class JudgeUnavailable(PlumblineError):
    """The endpoint of a judge gives no usable answer."""


class JudgeRefused(PlumblineError):
    """A judge is not reliable enough, or nobody measured whether it is."""


class TrainingError(PlumblineError):
    """A training or evaluation job ended without a verified result."""


class MaskBreach(TrainingError):
    """The mask receipt breaks a rule, so the job stopped before its first step."""


class InsufficientEvidence(PlumblineError):
    """An estimate has fewer samples than its gate needs."""


class VaultRefused(PlumblineError):
    """A suite of the eval vault may not be opened for this."""


class SignatureRefused(PlumblineError):
    """A signature, or the key or the trust behind it, does not count."""


class PromotionRefused(PlumblineError):
    """A policy may not become the champion."""


class LedgerError(PlumblineError):
    """The ledger cannot be read or written, or an entry of it was changed."""


class LedgerConflict(LedgerError):
    """The ledger already has an entry of this kind and key with another body."""


class LineageError(PlumblineError):
    """The lineage walk met a record that is missing or disagrees."""
