"""What can be wrong with a text: control tokens, personal data, characters that deceive."""
