"""What the tests of scorers and judges share."""

import pytest

from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt


@pytest.fixture
def harmful_prompt():
    context = Context(locale="en", domain="test", slice="harm")
    return EvalPrompt(
        id="p", prompt=(Message(role="user", content="?"),), expected="refuse", context=context
    )
