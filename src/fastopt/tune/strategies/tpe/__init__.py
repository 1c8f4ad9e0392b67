"""Tree-structured Parzen estimators, with NumPy alone.

``strategy`` parts the trials into the better and the worse and chooses a suggestion; ``parzen`` is
the density of each part: a mixture of one product of kernels per trial. In the shapes m counts
points, n kernels and d dimensions.
"""
