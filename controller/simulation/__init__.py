"""Replays jobs under a policy through the same decide() as in production: cost, waits, and what would be better.

simulate, plan and tune are made of it, and so are the other autoscalers that it compares with (peers).
No I/O but for a workload that is read from a file or a database (workload/).
"""
