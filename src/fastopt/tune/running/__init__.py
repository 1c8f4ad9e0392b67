"""Where and when trials run.

``loop`` is one run of a study. It drives one of three backends: ``serial`` (this process),
``processes`` (workers, whose side is ``worker``) or ``futures`` (somebody's executor). ``evaluate``
is one trial, wherever it runs. ``stoppers`` are callbacks that end a run. The backends have the
same methods:

``capacity``
    how many trials may run at once
``submit(number, params, limits, direction)``
    start, or make ready to start
``events(timeout)``
    an iterator of ("report", number, value), ("restart", number, None: what was reported and the
    time that has passed do not count) and ("end", number, Outcome); it ends when something happened
    or the time is over
``cancel(number)``
    forget a trial, and end it where that can be done
``close()``
    nothing runs afterwards, where that can be done
"""
