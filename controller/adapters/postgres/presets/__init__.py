"""One TOML file for each queue library that is known, and the module that reads them.

A new preset is one file here, and its test in tests/queues.
"""
