"""Schedulers decide, at each value that a trial reports, whether it goes on.

``protocol`` says what a scheduler is and what it is shown; ``driver`` shows it. ``median`` compares
a trial with those that have ended. ``rungs`` compares trials after the same number of values, for
``halving``, ``hyperband`` and ``top_k``. With ``population_based`` rows of a batch go on from
copies of others.
"""
