"""How assets hand manifests to each other, and which versions they find."""
