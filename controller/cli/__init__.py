"""The command line: one module a command, with add(parser) and run(arguments).

output.py is the only place that prints tables, colours and JSON. Heavy imports stay inside run().
Exit codes: 0 done, 1 failed, 2 wrong input.
"""
