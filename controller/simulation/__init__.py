"""Replays a workload through the same decide() that runs in production: what would this policy have done?"""
