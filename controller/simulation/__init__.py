"""Replays a workload through the same decide() that runs in earnest: what a policy would have cost, and who waited."""
