"""Bayesian search: a Gaussian process, and the point of the greatest expected improvement.

``strategy`` makes a suggestion of what the others offer: ``features`` (points as the kernel sees
them), ``warp`` (values as it sees them), ``gaussian_process`` and ``model`` (its fit to a history),
``expected_improvement``, ``hypervolume_improvement`` and ``scalars`` (the same of several
objectives), ``criteria`` (what a point is worth by a model), ``outlook`` (which criterion the told
trials lead to), ``ascent`` (the search for its maximum) and ``trust_region`` (where to search in
many dimensions).

Shapes, in every module: n told points, m asked ones, d coordinates of the unit cube, and columns
of features, at least one per coordinate.
"""
