"""The reconcile loop: leads, observes, decides, acts, and reports each cycle.

It uses the ports of core, never an adapter, and decides by the one clock that it is given. signals.py alone reads the
process' own timer: it bounds the time until the process ends, even where the loop hangs.
Events and their levels, the log, and the state that the server shows are here.
"""
