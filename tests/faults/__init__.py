"""Real controllers, a real Redis and a real PostgreSQL under faults that only real processes show.

`python -m tests.faults --help` runs it; `make faults` and `make soak` are the short ways in. Everything that can be
simulated is in tests/virtual, with many more faults. Both have the vocabulary of tests/support/misfortunes.py, and the
verdict of tests/support/verdict.py.

    pace.py         the scaled-down lease, interval and cooldowns, and every bound that follows from them
    fleet.py        the controllers as processes: start, kill, stop, continue, end; what they print and send
    demand.py       the queue, and what was true of it at any moment
    stage.py        servers, fake Railway, links (tests/support/proxy.py), fleet and demand together
    misfortunes.py  the misfortunes, each with its injection and its healing
    sequences.py    one fault at a time, at its worst moment
    storm.py        random faults from a seed, then calm
    seen.py         what is seen from outside, and the record for the verdict that follows from it
    report.py       what a person wants to know of a run
    mutants.py      controllers with one guard taken out, which the verdict has to find
    soak.py         memory and sockets over a long time
"""
