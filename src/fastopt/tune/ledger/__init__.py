"""What a study remembers: the trials given out and told, in memory or in a SQLite file.

``ledger`` gives out trials and takes their results. ``sqlite`` is the file, ``encoding`` what it
holds of a space and of params, ``history`` this process's copy of it. ``decider`` says what the
ledger asks about trials that report. ``liveness`` knows whether the process that runs a trial still
lives; ``values`` reads a result; ``callbacks`` tells observers.
"""
