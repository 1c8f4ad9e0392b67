"""Arrays of JAX: gradients come in without a copy, and what is immutable is not stepped.

In processes of their own: where JAX is imported, it warns of every fork.
"""

from pathlib import Path

import pytest
from processes import run_python

SCRIPT = Path(__file__).parent / "jax_script.py"


@pytest.mark.parametrize(
    "function",
    ["train_without_a_copy", "step_what_is_immutable", "step_with_what_is_no_array_of_numpy"],
)
def test_jax_gives_gradients_and_keeps_its_arrays(function):
    done = run_python(SCRIPT, function)
    assert done.returncode == 0, done.stderr
