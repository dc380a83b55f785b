"""The models that a profile can train: made from scratch, or from the hub."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from plumbline.records import Record
from plumbline.schema.identifiers import Text


class ScratchModel(Record):
    """A small Llama made from scratch, with a tokenizer built from the demonstrations."""

    kind: Literal["scratch"]
    tokenizer: Literal["words", "bytes"] = Field(
        description="`words`: whole words with letters as fallback; `bytes`: byte-level BPE"
    )
    vocabulary: int | None = Field(
        default=None, gt=256, description="size of the byte-level BPE; null for `words`"
    )
    hidden: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    feed_forward: int = Field(gt=0)
    init_std: float = Field(gt=0)
    max_length: int = Field(gt=0, description="positions of the model, in tokens")

    @model_validator(mode="after")
    def _vocabulary_has_effect(self) -> Self:
        if (self.tokenizer == "bytes") != (self.vocabulary is not None):
            raise ValueError(
                "vocabulary is the size of the `bytes` tokenizer: give it there, and only there"
            )
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self


class Lora(Record):
    """Low-rank adaptation (Hu et al. 2021)."""

    rank: int = Field(gt=0)
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


class HubModel(Record):
    """A pre-trained chat model, named by repository and exact revision."""

    kind: Literal["hub"]
    name: Text
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] = Field(
        description="commit of the model repository"
    )
    max_length: int = Field(gt=0, description="longest prompt and response together, in tokens")
    lora: Lora | None = None


Model = ScratchModel | HubModel
