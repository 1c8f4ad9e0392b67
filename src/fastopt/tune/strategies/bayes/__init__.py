"""Bayesian search: a Gaussian process, and the point of the greatest expected improvement.

``strategy`` makes a suggestion with the help of the others: ``features`` (points as the kernel sees
them), ``warp`` (values as it sees them), ``gaussian_process`` and ``model`` (its fit to a history),
``expected_improvement``, ``hypervolume_improvement`` and ``scalars`` (for several objectives),
``criteria`` (acquisition functions), ``outlook`` (from the told trials to models and a criterion),
``ascent`` (the maximisation of the criterion), ``basin`` (what a search that has converged leaves)
and ``trust_region`` (where to search in many dimensions). ``told``, ``stopped`` and ``failures``
turn trials into values, and ``expected`` finds the trial that is best by the model.

Shapes, in every module: n told points, m points to evaluate the model at, d coordinates of the unit
cube, and columns of features, at least one per coordinate.
"""
