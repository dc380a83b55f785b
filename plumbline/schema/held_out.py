"""Held-out prompts, and what policies answered to them."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.identifiers import Identifier


class EvalPrompt(Record):
    """A held-out prompt with what a good policy does on it."""

    id: Identifier
    suite: Identifier = Field(
        default="held-out", description="the suite of the vault that it belongs to"
    )
    prompt: tuple[Message, ...] = Field(min_length=1)
    expected: Literal["comply", "refuse", "unknown"]
    context: Context
    facts: dict[str, str] = Field(
        default_factory=dict,
        description="what the scorer needs to judge a response, for example the sandbox intent",
    )


PROMPTS: Final = "prompts.jsonl"


Policy = Literal["reference", "aligned", "champion"]


class Sample(Record):
    """One sampled response of one policy."""

    prompt_id: Identifier
    slice: Identifier = Field(description="slice of the prompt")
    policy: Policy
    response: str = Field(description="decoded text without control tokens; may be empty")
    tokens: int = Field(
        ge=0, description="sampled tokens, the end token included when there is one"
    )
    truncated: bool = Field(
        description="true when the response ran into max_new_tokens before its end token"
    )
    logp: float | None = Field(
        description=(
            "log-probability of the response under the policy that sampled it, nats; null when it"
            " was not computed"
        )
    )
    reference_logp: float | None = Field(
        description=(
            "log-probability of the response under the reference policy, nats; null when it was not"
            " computed"
        )
    )
    reward: float | None = Field(
        description="reward of the response under the reward model; null when there is none"
    )
    seed: int = Field(ge=0, description="seed of the sampler")


class BestOfDraws(Record):
    """Several responses of the reference policy to one prompt, drawn at temperature 1, so that the
    best of them can be taken."""

    prompt_id: Identifier
    slice: Identifier = Field(description="slice of the prompt")
    responses: tuple[str, ...] = Field(
        min_length=2, description="decoded text without control tokens, in the order of the draws"
    )
    rewards: tuple[float, ...] = Field(description="reward of each response under the reward model")
    tokens: tuple[int, ...] = Field(
        description="sampled tokens of each response, the end token included when there is one"
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if not len(self.responses) == len(self.rewards) == len(self.tokens):
            raise ValueError(
                f"{len(self.responses)} responses need as many rewards ({len(self.rewards)}) and"
                f" token counts ({len(self.tokens)})"
            )
        return self
