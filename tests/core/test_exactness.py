"""The compiled rules equal their NumPy twins bit for bit, whatever runs them."""

import ctypes
import functools
import itertools
import json
import platform
from pathlib import Path

import numpy as np
import pytest
from cases import (
    DTYPES,
    ELEMENTWISE,
    RULES,
    cautious_variants,
    function_of,
    function_variants,
    numbers,
    same_but_nan_payload,
    sets_of_optional_states,
    states_of,
    step_keyword,
)
from processes import available_isas, run_code, run_python
from reference import REFERENCE

import fastopt

# From the twin: 100 steps of every variant
PINNED = {
    "sgd-float32": "94fb053b78d71623e70d4769de2c2211",
    "sgd-float64": "2a06612fcc575d4f2aa0b114a42dc414",
    "momentum-float32": "ee268d3e50066ac0c50517794d6a0adc",
    "momentum-float32-cautious": "3fb867d5c437993493700c5258425113",
    "momentum-float64": "b09136faffd129c33abbb4568fb8ccbc",
    "momentum-float64-cautious": "793085f08b93973ebe2222c002c74af0",
    "nag-float32": "05370c1f35f2203cebd529570c45288a",
    "nag-float32-cautious": "d6366233cc6014185d536f48c678c65a",
    "nag-float64": "e829cf51c9c7f7705f0fc821b650cae5",
    "nag-float64-cautious": "7af09872aa1c94b4ea8230f8c4a442b7",
    "adagrad-float32": "cafa04cb055d59c3827d009718ecb050",
    "adagrad-float64": "edf00464c7bac720a6525f070a1bf119",
    "adadelta-float32": "4a26af109423dcc193a84a84b2074baa",
    "adadelta-float64": "6d88b25c79e2572b48cab78f365fa53a",
    "adam-float32": "58fd3372c5c40b46561c7714e56b71fe",
    "adam-float32-cautious": "e200737241ec7096e7b427a91ebcdf91",
    "adam-float64": "7a3a69d47685464cb0f4b7c3b966ff63",
    "adam-float64-cautious": "207916d832ff899ec5c2ad76091447c4",
    "adamw-float32": "86d657880775fdf351649efeabb29724",
    "adamw-float32-cautious": "f37d6b7e175e792f38a572f779c5f620",
    "adamw-float64": "21bf34d5de19834ebfbd1b635d30e1ab",
    "adamw-float64-cautious": "0f7cb3cf7d72219e48ca889c05c635d8",
    "rmsprop-float32": "de57c3427548228149db83a70db4e90f",
    "rmsprop-float32-grad_avg": "f91991bf25620fc3e4b9abaa69e75f0e",
    "rmsprop-float32-momentum_buffer": "29d3bbd637f7a70d83723e57899e5563",
    "rmsprop-float32-grad_avg-momentum_buffer": "381b0f1ef0439853c6f254edac76bbd4",
    "rmsprop-float64": "4212f4d70fe58739e883c18f7b1867a4",
    "rmsprop-float64-grad_avg": "fc7fc186672966d3cd14309ede5a4a0d",
    "rmsprop-float64-momentum_buffer": "f9b0711efeded48a9f440d9e664c98c8",
    "rmsprop-float64-grad_avg-momentum_buffer": "a32d95fe51b73d82cd2d31c5b42fbfcc",
    "lion-float32": "f12c8e6734634682ca650423a1b37cf7",
    "lion-float32-cautious": "4b8bd8f133807e4df3e4427405262deb",
    "lion-float64": "99e8c76788242e81dc733efdd6c066e5",
    "lion-float64-cautious": "8103164909b6290172551a86124aa52b",
    "adamax-float32": "6a42037372cdcbebd715d64bf649241d",
    "adamax-float64": "bc7354ba127a53c1d03d4507c70dfcd8",
    "radam-float32": "4b5be7324c40563a49dd852b06b4a802",
    "radam-float64": "e25f58d6740795bfdf1fb4799cc0255b",
    "rprop-float32": "9e267490f178dccc42d41f6c53cb5927",
    "rprop-float64": "90e7a7697469ffc16ed4de12d1a487b5",
    "nadam-float32": "44bcb8e391bb5b04b1a61f4124d1437e",
    "nadam-float32-cautious": "3dc58b8f6eb5ff87a06f6bc9227f9d21",
    "nadam-float64": "be8e6c21f88b9db07c2e8393e8f655ca",
    "nadam-float64-cautious": "fdf7be35ea70af5400831457a257cac7",
    "adopt-float32": "466a322a589610250e6599eb4cd6d7ce",
    "adopt-float64": "4d54b59fd1bdd8286bd336b900d4f281",
    "ademamix-float32": "137850976780e73eb12d886d92d9d641",
    "ademamix-float64": "c339f37e2a58dd7e28d377961667217c",
    "schedule_free_sgd-float32": "750cfe95f6494775b5631c94df0c7246",
    "schedule_free_sgd-float64": "8f45564bdf3af4b0226cf0559d649b5f",
    "schedule_free_adamw-float32": "5f7bef676b379add76c7f4db0ddd7d6c",
    "schedule_free_adamw-float64": "e0584371336446906418e865b07ebc57",
    "asgd-float32": "b3f29bca1e911183421ce95e6b57b9be",
    "asgd-float64": "64e4b7acbb04877a0179e47f9d3a86e6",
    "stableadamw-float32": "0974316bb65d7d86eaa240e4eb0b99a5",
    "stableadamw-float64": "f5f6c6bc8b5901afc1dbe794ef52d72e",
    "lamb-float32": "e58af71017abacf748babbaf7061021a",
    "lamb-float64": "868b8036f85e0438d18534c635de43c6",
    "lars-float32": "f9912cc53ffc87f517520bdc7f523887",
    "lars-float64": "259adc5ddde5aedb87218cefab0a315b",
    "prodigy-float32": "5d83376cdd3b5e4c580877e72e85310c",
    "prodigy-float64": "4fec3b4bd92bb4f3f08b69ca3df23421",
}


@functools.cache
def run_check(isa, check):
    worker = Path(__file__).with_name("exactness_worker.py")
    done = run_python(str(worker), check, FASTOPT_ISA=isa, timeout=None)
    assert done.returncode == 0, f"exit status {done.returncode} under {isa}\n{done.stderr}"
    result = json.loads(done.stdout)
    assert result["isa"] == isa
    return result["found"]


def assert_equal_bits(isa, check, name, at_least):
    found = run_check(isa, check)[name]
    failures = "\n".join(map(str, found["failures"]))
    assert not found["failed"], f"{found['failed']} of {found['cases']} differ:\n{failures}"
    assert found["cases"] >= at_least


def count_variants():
    variants = (function_variants, cautious_variants)
    return len(DTYPES) * sum(len(list(of(rule))) for of in variants for rule in RULES)


def test_every_rule_has_a_twin():
    assert list(fastopt.RULES) == list(REFERENCE)


lengths = pytest.mark.parametrize(
    ("check", "at_least"),
    [("few_lengths", 12), pytest.param("every_length", 34, marks=pytest.mark.slow)],
    ids=["few", "every"],
)


@lengths
@pytest.mark.parametrize("isa", available_isas())
def test_every_isa_matches_numpy_at_each_length_and_start(isa, check, at_least):
    starts = 3 if check == "every_length" else 1
    assert_equal_bits(isa, check, "lengths", starts * at_least * count_variants())


@lengths
@pytest.mark.parametrize("isa", available_isas())
def test_no_access_beyond_the_buffers(isa, check, at_least):
    ends = 2 if check == "every_length" else 1
    assert_equal_bits(isa, check, "protected_pages", ends * at_least * count_variants())


@pytest.mark.parametrize(
    "check", ["few_threads", pytest.param("every_threads", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("isa", available_isas())
def test_every_thread_count_matches_numpy(isa, check):
    every = check == "every_threads"
    at_least = 2 * count_variants() if every else 3 * 2 * len(DTYPES) * len(RULES)
    assert_equal_bits(isa, check, "threads", at_least)


@pytest.mark.parametrize("isa", available_isas())
def test_special_values_match_numpy(isa):
    assert_equal_bits(isa, "special_values", "special_values", at_least=count_variants())


@pytest.mark.parametrize("isa", available_isas())
def test_long_runs_have_the_pinned_bits(isa):
    assert run_check(isa, "pinned") == PINNED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags of an x86-64 CPU")
def test_every_isa_of_this_cpu_is_offered():
    flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n")[0].split())
    expected = ["baseline"]
    expected += ["avx2"] if "avx2" in flags else []
    expected += ["avx512"] if {"avx512f", "avx512dq", "avx512vl", "avx512bw"} <= flags else []
    assert set(available_isas()) == set(expected)


def test_the_widest_isa_is_the_default():
    by_width = ("avx512", "avx2", "neon", "baseline")
    widest = next(isa for isa in by_width if isa in available_isas())
    assert run_code("import fastopt; print(fastopt.isa())") == widest


@pytest.mark.parametrize("wrong", ["nonsense", "AVX2", "sse2", "avx2 ", "avx2,avx512", "512"])
def test_an_unknown_isa_is_an_error_at_import_that_lists_those_there_are(wrong):
    done = run_python("-c", "import fastopt", FASTOPT_ISA=wrong)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert "FASTOPT_ISA" in message
    for isa in available_isas():
        assert isa in message


@pytest.mark.parametrize("isa", sorted({"neon", "avx2", "avx512"} - set(available_isas())))
def test_an_isa_that_the_cpu_lacks_is_an_error_at_import(isa):
    done = run_python("-c", "import fastopt", FASTOPT_ISA=isa)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert "FASTOPT_ISA" in message
    assert isa in message


def test_subnormal_arithmetic_is_still_on_after_import():
    code = "import fastopt; x = 5e-324; print(x * 1.0 != 0, 2.0**-1060 * 2.0**-10 != 0)"
    assert run_code(code) == "True True"


class FloatingPointEnvironment:
    """The C library's view of the control registers, rounding and flush-to-zero among them."""

    # glibc's fenv_t: x86-64 keeps MXCSR at byte 28, of which the low six bits are status
    WORD, CONTROL, FLUSH = {
        "x86_64": (7, 0xFFC0, 0x8040),
        "aarch64": (0, 0xFFFFFFFF, 1 << 24),
    }.get(platform.machine(), (None, None, None))

    def __init__(self):
        self.libm = ctypes.CDLL("libm.so.6")
        self.saved = self.words()

    def words(self):
        buffer = (ctypes.c_uint32 * 16)()
        assert self.libm.fegetenv(buffer) == 0
        return buffer

    def control(self):
        return self.words()[self.WORD] & self.CONTROL

    def flush_to_zero(self):
        words = self.words()
        words[self.WORD] |= self.FLUSH
        assert self.libm.fesetenv(words) == 0

    def round_up(self):
        upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]
        assert self.libm.fesetround(upward) == 0

    def restore(self):
        assert self.libm.fesetenv(self.saved) == 0


@pytest.fixture
def environment():
    environment = FloatingPointEnvironment()
    yield environment
    environment.restore()


needs_known_registers = pytest.mark.skipif(
    FloatingPointEnvironment.WORD is None or platform.libc_ver()[0] != "glibc",
    reason="knows the registers of x86-64 and aarch64 as glibc lays them out",
)


@needs_known_registers
@pytest.mark.parametrize("mode", ["default", "flush_to_zero", "round_up"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_floating_point_control_register_is_left_alone(rule, mode, environment):
    keywords = {"lr": 0.1, "weight_decay": 0.1, **step_keyword(rule, 3)}
    for n in (7, 300_000):
        buffers = [np.full(n, 1e-310) for _ in range(2 + len(rule.states))]
        before = environment.control()
        if mode != "default":
            getattr(environment, mode)()
            assert environment.control() != before
        during = environment.control()
        function_of(rule)(*buffers, **keywords)
        after = environment.control()
        environment.restore()
        assert after == during


@needs_known_registers
@pytest.mark.parametrize("mode", ["flush_to_zero", "round_up"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.name)
def test_no_split_changes_a_bit_in_whatever_mode_the_caller_has(rule, dtype, mode, environment):
    keywords = {"lr": 0.1, "eps": 1e-30}
    keywords = {name: value for name, value in keywords.items() if name in rule.hypers}
    n = 300_000
    whole = [np.abs(numbers(k, n, dtype)) for k in range(2 + len(rule.states))]
    parts = [buffer.copy() for buffer in whole]
    bounds = [0, 1, 48, 100, 1000, 1033, 150_000, n]
    getattr(environment, mode)()
    try:
        function_of(rule)(*whole, **keywords, **step_keyword(rule, 3))
        for begin, end in itertools.pairwise(bounds):
            part = (buffer[begin:end] for buffer in parts)
            function_of(rule)(*part, **keywords, **step_keyword(rule, 3))
    finally:
        environment.restore()
    for a, b in zip(whole, parts, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_any_shape_steps_as_its_elements_do(rule, dtype):
    keywords, optional = list(function_variants(rule))[-1]  # all of them
    count = 2 + len(states_of(rule, optional))
    for shape in ((), (1,), (3, 0, 2), (2, 3, 4), (1, 1, 1), (5, 1, 7)):
        size = int(np.prod(shape))
        flat = [np.abs(numbers(k, size, dtype)) for k in range(count)]
        shaped = [buffer.reshape(shape).copy() for buffer in flat]
        REFERENCE[rule.name](*flat, **keywords, **step_keyword(rule, 5))
        assert function_of(rule)(*shaped, **keywords, **step_keyword(rule, 5)) is None
        for a, b in zip(flat, shaped, strict=True):
            assert b.shape == shape
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_state_is_written_and_an_optional_one_matters(rule):
    """Whatever the twin does: a formula that leaves out the optional state compiles."""
    after = []
    for optional in sets_of_optional_states(rule):
        keywords = next(kw for kw, present in function_variants(rule) if present == optional)
        names = states_of(rule, optional)
        param, *states = (np.zeros(100, np.float32) for _ in range(1 + len(names)))
        for step, size in enumerate((1.0, 0.01), 1):
            grad = np.full(100, size, np.float32)
            by_name = dict(zip(names, states, strict=True))
            function_of(rule)(param, grad, **by_name, **keywords, **step_keyword(rule, step))
        assert all((state != 0).all() for state in states)
        after.append(param)
    for one, other in itertools.combinations(after, 2):
        assert (one != other).all()


EXTREME = {
    "lr": (0.0, 5e-324, 1e-50, 1e300, 1.7e308),
    "eps": (0.0, 1e-320, 1e-46, 1e39, 1e308),
    "weight_decay": (5e-324, 1e-50, 1.0, 1e300),
    "grad_scale": (0.0, -1.0, -2.5, 1e-310, 1e200),
}
JUST_BELOW_ONE = 1.0 - 2.0**-53
AVERAGES = (0.0, 5e-324, 1e-50, 0.5, 1.0 - 1e-12, JUST_BELOW_ONE)


def extreme_hypers(rule):
    for name, default in rule.hypers.items():
        if name in ("step", rule.carried) or isinstance(default, bool):
            continue
        for value in EXTREME.get(name, AVERAGES):
            yield name, value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_extreme_hyper_parameters_are_rounded_as_in_numpy_or_refused(rule, dtype):
    """Refused where a number that is not 0 would be 0 or infinity in the compute type."""
    for keywords, optional in function_variants(rule):
        for name, value in extreme_hypers(rule):
            if keywords[name] == 0 and name in rule.optional.values():
                continue  # it has to be 0 without its state
            hypers = {**keywords, name: value}
            names = ("param", "grad", *states_of(rule, optional))
            expected = {buffer: np.abs(numbers(k, 21, dtype)) for k, buffer in enumerate(names)}
            got = {buffer: array.copy() for buffer, array in expected.items()}
            with np.errstate(over="ignore"):
                rounded = dtype(value)
            if value != 0 and (rounded == 0 or np.isinf(rounded)):
                with pytest.raises(ValueError, match=f"{name} must be a number that float32"):
                    function_of(rule)(**got, **hypers, **step_keyword(rule, 7))
            else:
                REFERENCE[rule.name](**expected, **hypers, **step_keyword(rule, 7))
                function_of(rule)(**got, **hypers, **step_keyword(rule, 7))
            for buffer in names:
                assert same_but_nan_payload(expected[buffer], got[buffer]), hypers


@pytest.mark.parametrize("step", [1, 2, 3, 1000, 2**31 - 1, 2**31, 2**31 + 1, 2**53 - 1, 2**53])
@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if "step" in rule.hypers], ids=lambda rule: rule.name
)
def test_every_step_number_is_exact(rule, step):
    hypers, _ = next(function_variants(rule))
    for beta1, beta2 in ((0.9, 0.999), (0.0, 0.0), (JUST_BELOW_ONE, JUST_BELOW_ONE), (0.5, 0.9)):
        if "beta1" in hypers:
            hypers.update(beta1=beta1, beta2=beta2)
        expected = [np.abs(numbers(k, 21, np.float64)) for k in range(2 + len(rule.states))]
        got = [buffer.copy() for buffer in expected]
        REFERENCE[rule.name](*expected, **hypers, **step_keyword(rule, step))
        function_of(rule)(*got, **hypers, **step_keyword(rule, step))
        for a, b in zip(expected, got, strict=True):
            assert a.tobytes() == b.tobytes()
