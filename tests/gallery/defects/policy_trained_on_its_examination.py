"""The policy was started from a model whose training data held prompts that stand in the vault
today.

The data of this version are clean, and the certificates say so. The vault is compared with
everything that this very policy was trained on.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: vault-leak"


def plant(world: World) -> World:
    idioms = [prompt.prompt for prompt in world.vault if prompt.context.slice == "idiom-es"]
    return replace(world, trained_before=tuple(idioms[:5]))
