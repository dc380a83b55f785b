"""Bytes by digest: artifacts, record files, the home folder and the identity of the code."""
