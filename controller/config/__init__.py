"""What a process is told from outside: the environment's settings and addresses, and the policy's file.

Everything that is wrong is collected and said at once. Settings of a platform are read by its adapter.
Timing holds the inequalities between the lease and the timeouts.
"""
