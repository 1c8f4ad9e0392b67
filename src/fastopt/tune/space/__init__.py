"""What is searched: parameters, the space that they span, and the trials of its points.

A parameter maps its values to the unit interval and back; a space does so for all of them, knows
which are active under conditions, and gives each point a key. Nothing here knows a strategy.
"""

from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.dimension import Dimension
from fastopt.tune.space.number import Float, Int
from fastopt.tune.space.parameter import Parameter
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Result, Trial

__all__ = ["Categorical", "Dimension", "Float", "Int", "Parameter", "Result", "Space", "Trial"]
