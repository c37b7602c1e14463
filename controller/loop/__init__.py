"""The reconcile loop: leads, observes, decides, acts, and reports each cycle.

It uses the ports of core, never an adapter, and reads time from the one clock that it is given.
Events and their levels, the log, and the state that the server shows are here.
"""
