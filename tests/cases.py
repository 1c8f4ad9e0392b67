"""What the tests of the compiled core share: rules, flags, reproducible numbers, and copies."""

import copy
import functools
import io
import itertools
import pickle

import numpy as np

import fastopt

DTYPES = (np.float32, np.float64)
RULES = tuple(fastopt.RULES.values())
# Those whose arrays may be stepped in parts
ELEMENTWISE = tuple(rule for rule in RULES if not rule.takes_norms)

LR = 0.013
DECAY = 0.03
MOMENTUM = 0.6
# Hyper-parameters that are in [0, 1)
FRACTIONS = {"momentum", "dampening", "rho", "alpha", "beta1", "beta2", "beta3", "eta_minus"}
# Numbers that switch a part of a formula on when they leave their default
SWITCHES = {
    "grad_scale": (1.0, 0.37),
    "dampening": (0.0, 0.3),
    "lr_decay": (0.0, 0.07),
    "initial_accumulator_value": (0.0, 0.2),
    "t0": (1e6, 1.0),
}


def function_of(rule):
    return getattr(fastopt, rule.name)


def class_of(rule):
    return getattr(fastopt, rule.class_name)


def states_of(rule, optional):
    """The names of the state arrays of a call, in positional order; `optional` has the names of the
    optional ones that are there, or is True: all of them."""
    return (*rule.states, *(name for name in rule.optional if optional is True or name in optional))


def sets_of_optional_states(rule):
    """From none to all."""
    for count in range(len(rule.optional) + 1):
        yield from itertools.combinations(rule.optional, count)


def switches_of(rule, keywords):
    """Those of the keywords of a class that say which optional states there are."""
    return {name: keywords[name] for name in rule.optional.values()}


def present_states(rule, keywords):
    """The optional states that there are with these keywords of a class."""
    return tuple(name for name, switch in rule.optional.items() if np.any(keywords[switch]))


def decays(hypers):
    choices = [{"weight_decay": 0.0}, {"weight_decay": DECAY}]
    if "decoupled" in hypers:
        choices.append({"weight_decay": DECAY, "decoupled": True})
    return choices


def flag_combinations(hypers):
    """Every combination of the flags of a rule, `hypers` being keyword -> default."""
    names, choices = [], []
    for name, default in hypers.items():
        if name in SWITCHES:
            names.append(name)
            choices.append(SWITCHES[name])
        elif isinstance(default, bool) and name not in ("decoupled", "cautious"):
            names.append(name)
            choices.append((False, True))
    for decay in decays(hypers):
        for values in itertools.product(*choices):
            yield {**hypers, "lr": LR, **decay, **dict(zip(names, values, strict=True))}


def function_variants(rule):
    """Every (keywords, optional states) of a rule's function, without `step`."""
    hypers = {
        name: default for name, default in rule.hypers.items() if name not in ("step", rule.carried)
    }
    for optional in sets_of_optional_states(rule):
        switches = {
            switch: MOMENTUM if name in optional else 0.0
            for name, switch in rule.optional.items()
            if switch in hypers
        }
        for keywords in flag_combinations(hypers):
            yield {**keywords, **switches}, optional


def cautious_combinations(hypers):
    """Where a rule can be cautious: with each decay, and with all else that changes the gradient.
    Whatever the other flags are, a cautious step has one loop."""
    if "cautious" not in hypers:
        return
    cautious = {**hypers, "lr": LR, "cautious": True}
    for decay in decays(hypers):
        yield {**cautious, **decay}
    scaled = {"grad_scale": SWITCHES["grad_scale"][1]} if "grad_scale" in hypers else {}
    yield {**cautious, "weight_decay": DECAY, "maximize": True, **scaled}


def cautious_variants(rule):
    """Every (keywords, optional states) of a rule's function with which its step is cautious."""
    hypers = {
        name: default for name, default in rule.hypers.items() if name not in ("step", rule.carried)
    }
    for optional in sets_of_optional_states(rule):
        for keywords in cautious_combinations(hypers):
            yield keywords, optional


def class_variants(rule):
    """Every combination of the flags of a rule's class."""
    switches = [switch for switch in rule.optional.values() if switch in rule.hypers]
    return [
        {**keywords, **dict.fromkeys(switches, value)}
        for value in ((0.0, MOMENTUM) if switches else (0.0,))
        for keywords in flag_combinations(rule.class_hypers)
    ]


def step_keyword(rule, step, carried=None):
    """The keywords about the steps so far that a rule's function needs: their number, and what is
    carried from one to the next. If that is not given, it is a number that depends on the step."""
    if "step" not in rule.hypers:
        return {}
    if rule.carried is None:
        return {"step": step}
    if carried is None:
        carried = np.full(rule.carried_shape, 0.5**step)
    return {"step": step, rule.carried: carried}


def function_keywords(rule, keywords, step, carried=None):
    """What the function of a rule needs for the step that a class with these keywords takes."""
    hypers = {
        name: keywords.get(name, 1.0)  # grad_scale may be absent
        for name in rule.hypers
        if name not in ("step", rule.carried)
    }
    if keywords.get("lr_decay"):
        hypers["lr"] = hypers["lr"] / (1 + (step - 1) * keywords["lr_decay"])
    if step == 1 and "dampening" in hypers:
        hypers["dampening"] = 0.0
    return {**hypers, **step_keyword(rule, step, carried)}


@functools.lru_cache(maxsize=64)
def uniform(seed, n):
    """`n` doubles in [0, 1) from splitmix64: the same on every machine and NumPy.

    They are cached, since the tests of all rules use the same ones.
    """
    z = np.arange(1, n + 1, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    found = (z >> np.uint64(11)) * 2.0**-53
    found.flags.writeable = False
    return found


def numbers(seed, n, dtype):
    """`n` numbers of either sign whose sizes spread over four powers of ten."""
    sizes = np.array([1.0, 0.1, 0.01, 0.001])
    magnitude = uniform(3 * seed, n) * sizes[(4.0 * uniform(3 * seed + 1, n)).astype(np.intp)]
    return np.where(uniform(3 * seed + 2, n) < 0.5, -magnitude, magnitude).astype(dtype)


def same_but_nan_payload(a, b):
    """Equality of all bits, except that any NaN equals any other."""
    if a.dtype.names:  # blocks of 8 bits
        return all(same_but_nan_payload(a[field], b[field]) for field in a.dtype.names)
    if a.tobytes() == b.tobytes():
        return True
    nan = np.isnan(a)
    if not np.array_equal(nan, np.isnan(b)):
        return False
    return np.where(nan, 0, a).tobytes() == np.where(nan, 0, b).tobytes()


def freeze(value):
    """Anything that a state_dict may hold, as something that compares by its bytes."""
    if isinstance(value, dict):
        return {key: freeze(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(freeze, value)]
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return (type(value).__name__, repr(value))


def every_copy(params, optimizer, make):
    """Parameters with their optimizer: copied, pickled, and loaded from a file and a state_dict.

    `params` is an array, a list or a dict. `make(params)` gives the optimizers that are loaded.
    """
    yield copy.deepcopy((params, optimizer))
    yield pickle.loads(pickle.dumps((params, optimizer)))
    file = io.BytesIO()
    optimizer.save(file, params=True)
    file.seek(0)
    fresh = copy.deepcopy(params)
    listed = [fresh] if isinstance(fresh, np.ndarray) else fresh
    for array in listed.values() if isinstance(listed, dict) else listed:
        array[...] = 0
    other = make(fresh)
    other.load(file)
    yield fresh, other
    fresh = copy.deepcopy(params)
    other = make(fresh)
    other.load_state_dict(optimizer.state_dict())
    yield fresh, other


def in_groups(tensors):
    """A list of tensors as the gradients of three groups, one of them a single array."""
    return [tensors[:2], tensors[2], tensors[3:]]
