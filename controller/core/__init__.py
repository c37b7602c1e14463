"""What should run, and why: the model, the numbered rules, the journal's history, and the ports to the world.

Pure: no I/O, no clock, no event loop, and no platform by its name; what changes arrives as an argument.
A new rule, reason or condition belongs here. Imports core and policy only.
"""
