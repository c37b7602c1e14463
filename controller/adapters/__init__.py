"""Connections to the outside: one folder per technology. None imports another."""
