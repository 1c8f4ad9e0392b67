"""Who suggests the next point.

``protocol`` says what a strategy is and what it is shown, ``driver`` shows it, ``by_name`` makes
one from its name. ``sequence`` is what ``grid``, ``random`` and ``sobol`` share. ``tpe`` and
``bayes`` are rooms of their own; the latter brings SciPy's linear algebra and is imported on use.
"""
