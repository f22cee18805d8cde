"""The bench: how fast the worker is, next to others that do the same work on the same servers in the same run."""
