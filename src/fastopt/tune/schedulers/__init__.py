"""Who decides, at each value that a trial reports, whether it goes on.

``protocol`` says what a scheduler is and what it is shown, ``driver`` shows it. ``median`` compares
a trial with those that have ended. ``rungs`` keeps what the others had after as many values, for
``halving``, ``hyperband`` and ``top_k``. ``population_based`` has rows of a batch go on from
others.
"""
