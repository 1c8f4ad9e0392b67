"""The rivals one by one, for pytest-benchmark; bench.steps.run compares them in turn."""

from bench.steps.arrays import MODELS, make_tensors
from bench.steps.measuring import calls_per_sample
from bench.steps.problems import MAX_NORM


def run(benchmark, case):
    if benchmark.disabled:
        if case.restore:
            case.restore()
        benchmark(case.step)
    elif case.restore:
        benchmark.pedantic(case.step, setup=case.restore, rounds=30, warmup_rounds=2)
    else:
        iterations = calls_per_sample(case)
        benchmark.pedantic(case.step, iterations=iterations, rounds=30, warmup_rounds=2)


def test_step(benchmark, rule, dtype, size, rival):
    benchmark.group = f"{rule.name}, {dtype}, {size} elements"
    run(benchmark, rival.make(rule, make_tensors(rule, [(size,)], dtype)))


def test_model(benchmark, rule, model, clip, rival):
    benchmark.group = f"{rule.name}, {model}" + (", clipped" if clip else "")
    tensors = make_tensors(rule, MODELS[model](), "float32")
    run(benchmark, rival.make(rule, tensors, MAX_NORM if clip else None))
