"""The jobs that a simulation replays: from a file (traces), made up (generators), or from the database.

A new source of jobs belongs here. Each gives a Workload (jobs): arrivals in order and service times, in seconds from
its begin, which can be read again and again, since every policy replays the same jobs.
"""
