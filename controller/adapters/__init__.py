"""The ports of core on real technology: one folder a technology, none of which imports another.

Each translates faults into Unavailable, NotSent, Refused or LeaseLost, and never guesses a number.
dry_run wraps the ports so that nothing is written. clock is the system's clock, which app hands to everything that
decides by the time; only durations of single calls are measured elsewhere, with the process' own timers.
"""
