"""Real controllers under every misfortune that we know how to arrange, and a verdict over what they did.

`python -m tests.faults --help` runs it; `make faults` and `make soak` are the short ways in.

    pace.py         the scaled-down lease, interval and cooldowns, and every bound that follows from them
    proxy.py        a TCP link that can refuse, cut, swallow, half-swallow and delay
    fleet.py        the controllers as processes: start, kill, stop, continue, end; what they print, and when
    demand.py       the queue, and what was true of it at any moment
    stage.py        servers, fake Railway, links, fleet and demand together
    misfortunes.py  the faults, each with its injection and its healing
    storm.py        random faults from a seed, then calm
    directed.py     the sequences that random faults would take days to find
    history.py      what is recorded: plain values
    verdict.py      history in, violations out; pure
    report.py       what a person wants to know of a run
    mutants.py      controllers with one guard taken out, which the verdict has to catch
    paused.py       a controller that stops itself between its intent and its request
    shifted.py      a controller whose wall clock is wrong
    soak.py         memory and sockets over a long time
"""
