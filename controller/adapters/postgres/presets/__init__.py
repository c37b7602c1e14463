"""One TOML file for each queue library that is known; the folder is the list, and reader.py reads it.

A new preset is one file here, and its test in tests/queues.
"""
