"""policy.yaml: parsed within limits, checked, and turned into frozen models, or refused with place, line and fix.

A new key of the policy belongs here: its model, its default, its check and its sentence in the JSON Schema.
Pure: it reads no file and no environment; both arrive as arguments.
"""
