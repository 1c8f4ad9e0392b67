"""Where and when trials run.

``loop`` is one run of a study. It gives tasks, each a trial or the rows of a batch, to one of three
backends, which ``backends`` chooses: ``serial`` (this process), ``processes`` (workers, whose side
is ``worker``) or ``futures`` (the user's executor). ``evaluate`` is one trial, wherever it runs,
``batch`` one batch; ``decisions`` asks a scheduler what becomes of them. ``stoppers`` are callbacks
that end a run. The backends have the same methods:

``capacity``
    how many tasks may run at once
``answers``
    whether what a task reports can be answered
``submit(number, ...)``
    start a task, or make ready to start; what follows are the arguments of its evaluation
``answer(number, answer)``
    send what ``evaluate`` or ``evaluate_batch`` takes for a report
``events(timeout)``
    an iterator of ("report", number, value), ("restart", number, None: what was reported and the
    time that has passed do not count) and ("end", number, Outcome); it ends when something happened
    or the time is over
``cancel(number)``
    forget a task, and end it where that can be done
``close()``
    nothing runs afterwards, where that can be done
"""
