"""What a study remembers: the trials given out and told, in memory or in a SQLite file.

``ledger`` gives out trials and takes their results, ``results`` reads those that a user gives,
``kept`` holds those that are not in the file yet, ``reports`` has the values of running trials,
``winners`` are the trials that no other beats. ``database`` is the file that processes share,
``sqlite`` one study in it, ``schema`` its tables, ``encoding`` what it holds of a space and of
params, ``agreement`` the comparison of a study with its file, ``history`` this process's copy of
it. ``decider`` says what the ledger asks about trials that report. ``liveness`` knows whether the
process that runs a trial still lives; ``values`` reads a result; ``callbacks`` tells observers.
``restore`` makes a space from a file, ``extend`` a stored space wider; ``revisions`` changes trials
that have ended, ``copies`` writes a study once more.
"""
