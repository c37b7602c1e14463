"""Replays jobs under a policy through the same decide() as in production: cost, waits, and what would be better.

simulate, plan and tune are made of it, and so are the other autoscalers that it compares with (peers).
A file is read where a workload or a policy comes from one (workload/, contenders, tune), and written by plot alone;
what prints is cli's. All time is simulated, but for the CPU time that comparison measures.
"""
