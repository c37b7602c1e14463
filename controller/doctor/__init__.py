"""Connects to everything, only reads, and says of each thing whether it is well, and what fixes it.

One module for each thing that is looked at; each returns findings, and report.py puts them together.
What a command prints of them is cli's.
"""
