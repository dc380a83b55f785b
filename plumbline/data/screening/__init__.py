"""What keeps an event out, or holds it until a person decides."""
