"""Samples: what a policy answered to a held-out prompt, with everything a metric may need."""

from typing import Literal

from pydantic import Field

from plumbline.data.schema import Identifier
from plumbline.records import Record

Policy = Literal["reference", "aligned", "champion"]


class Sample(Record):
    """One sampled response of one policy."""

    prompt_id: Identifier
    slice: Identifier = Field(description="slice of the prompt")
    policy: Policy
    response: str = Field(description="decoded text without control tokens; may be empty")
    tokens: int = Field(ge=0, description="sampled tokens, the end token included when there is one")
    truncated: bool = Field(description="true when the response ran into max_new_tokens before its end token")
    logp: float | None = Field(description="log-probability of the response under the policy that sampled it, nats; null when it was not computed")
    reference_logp: float | None = Field(description="log-probability of the response under the reference policy, nats; null when it was not computed")
    reward: float | None = Field(description="reward of the response under the reward model; null when there is none")
    seed: int = Field(ge=0, description="seed of the sampler")
