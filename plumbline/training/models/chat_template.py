"""The chat template of the models that are made from scratch, and the identity of any model's
template."""

from plumbline.profile.models import Model, ScratchModel
from plumbline.records import canonical_json, sha256

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
CONTROL_TOKENS = (PAD, END, USER, ASSISTANT, SYSTEM)
"""Padding, end of an assistant turn, and the openings of the three turns, in the order of their
token ids."""

# A prompt renders to a prefix of prompt and response, and nothing follows the end of a response:
# otherwise the loss would cover template text. Every literal stands inside {{ }}, because Jinja
# eats white space next to {%- -%}.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{ message['content'] + '<|end|>' }}{%- endgeneration -%}"
    "{%- else -%}"
    "{{ message['content'] }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def template_digest(template: str) -> str:
    """Digest of the text of a chat template."""
    return sha256(template.encode())


def template_identity(model: Model) -> str:
    """What a job spec says about the chat template: its digest, or for a hub model the digest of
    the revision that fixes it."""
    if isinstance(model, ScratchModel):
        return template_digest(CHAT_TEMPLATE)
    return sha256(canonical_json({"name": model.name, "revision": model.revision}))
