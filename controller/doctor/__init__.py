"""Connects to everything, read only, and says what is wrong and how to fix it."""
