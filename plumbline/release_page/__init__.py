"""The release page: everything that a person has to know before signing, in one HTML file."""
