"""The faults that fastopt promises to survive. Each has a row: what must happen, and what shows it.

A row names bad arrays of `bad_input.ARRAY_FAULTS`, which are passed here as every argument of every
rule's function and must be refused, or tests elsewhere, which must exist.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bad_input import (
    ARRAY_FAULTS,
    argument_names,
    assert_refused,
    good_arrays,
    good_keywords,
)
from cases import DTYPES, RULES, function_of, step_keyword
from reference import REFERENCE

TESTS = Path(__file__).parents[1]
BY_NAME = {fault.name: fault for fault in ARRAY_FAULTS}


@dataclass(frozen=True)
class Row:
    number: int
    fault: str
    error: type | tuple | None  # the exceptions; None: it is no error, or ends otherwise
    arrays: tuple = ()  # names of array faults
    tests: tuple = ()  # file::test


FAULTS = [
    Row(1, "read-only param or state", ValueError, ("read-only",)),
    Row(
        2,
        "read-only gradient: accepted",
        None,
        tests=("core/test_validation.py::test_a_read_only_gradient_is_accepted",),
    ),
    Row(3, "None", TypeError, ("None",)),
    Row(4, "a list instead of an array", TypeError, ("list", "tuple", "float")),
    Row(
        5,
        "another dtype",
        TypeError,
        ("int64", "int32", "uint8", "bool", "complex64", "object", "uint16", "longdouble"),
    ),
    Row(6, "float32 and float64 mixed", TypeError, ("other float",)),
    Row(7, "byte-swapped", TypeError, ("byte-swapped",)),
    Row(
        8,
        "strided, negative stride, Fortran order",
        ValueError,
        ("strided", "strided rows", "negative stride", "Fortran order"),
    ),
    Row(9, "misaligned", ValueError, ("misaligned",)),
    Row(
        10,
        "another shape, of equal size too: no broadcasting",
        ValueError,
        ("transposed", "flattened", "one axis more", "one row less", "broadcastable", "empty"),
    ),
    Row(11, "zero stride made writeable", ValueError, ("zero stride", "repeated rows")),
    Row(
        12,
        "size 0, no dimension, length 1: right",
        None,
        tests=("core/test_exactness.py::test_any_shape_steps_as_its_elements_do",),
    ),
    Row(
        13,
        "every short length between protected pages: right",
        None,
        tests=("core/test_exactness.py::test_no_access_beyond_the_buffers",),
    ),
    Row(
        14,
        "overlapping arrays",
        ValueError,
        tests=(
            "core/test_validation.py::test_overlapping_arrays_are_refused",
            "core/test_class_validation.py::test_a_gradient_that_overlaps_any_param_is_refused",
        ),
    ),
    Row(
        15,
        "a param listed twice",
        ValueError,
        tests=("core/test_class_validation.py::test_params_that_share_memory_are_refused",),
    ),
    Row(
        16,
        "NaN or infinite gradient: its own element only",
        None,
        tests=(
            "core/test_validation.py::test_a_gradient_that_is_not_finite_touches_its_own_element_only",
        ),
    ),
    Row(
        17,
        "the same with skip_nonfinite: skipped and reported",
        None,
        tests=("core/test_clipping.py::test_skip_nonfinite_leaves_every_byte_as_it_was",),
    ),
    Row(
        18,
        "subnormals, signed zeros: as NumPy",
        None,
        tests=("core/test_exactness.py::test_special_values_match_numpy",),
    ),
    Row(
        19,
        "flush-to-zero or another rounding mode set by the caller: preserved",
        None,
        tests=("core/test_exactness.py::test_the_floating_point_control_register_is_left_alone",),
    ),
    Row(
        20,
        "a bad hyper-parameter",
        ValueError,
        tests=(
            "core/test_validation.py::test_a_bad_number_is_refused",
            "core/test_class_validation.py::test_a_bad_hyper_parameter_is_refused_at_construction",
            "core/test_class_validation.py::"
            "test_a_hyper_parameter_that_was_made_bad_is_refused_by_the_step",
        ),
    ),
    Row(
        21,
        "eps = 0 where the average is 0: NaN or infinity, as in NumPy, on every ISA",
        None,
        tests=(
            "core/test_faults.py::test_no_eps_where_the_average_is_zero_gives_what_numpy_gives",
            "core/test_exactness.py::test_extreme_hyper_parameters_are_rounded_as_in_numpy_or_refused",
        ),
    ),
    Row(
        22,
        "step 2**31 and 2**53: exact; past the limit",
        ValueError,
        tests=(
            "core/test_exactness.py::test_every_step_number_is_exact",
            "core/test_validation.py::test_a_bad_step_is_refused",
        ),
    ),
    Row(
        23,
        "more than 2**31 elements: right",
        None,
        tests=("core/test_large.py::test_more_than_two_to_the_31_elements",),
    ),
    Row(24, "masked array, matrix", TypeError, ("masked array", "matrix")),
    Row(
        25,
        "a foreign tensor given to a NumPy function",
        TypeError,
        tests=("integrations/test_torch.py::test_a_tensor_is_not_an_array",),
    ),
    Row(
        26,
        "one bad array among many",
        TypeError,
        tests=(
            "core/test_class_validation.py::test_one_bad_gradient_among_many_changes_nothing",
            "core/test_class_validation.py::test_one_bad_param_among_many_is_refused",
        ),
    ),
    Row(
        27,
        "an array resized by another thread during a step, or by the owner of its memory",
        (ValueError, BufferError),  # NumPy's own exception, the owner's
        tests=("core/test_limits.py::test_an_array_cannot_be_resized_during_a_step",),
    ),
    Row(
        28,
        "two threads step one optimizer: serialised or refused",
        RuntimeError,
        tests=(
            "core/test_threads.py::test_two_threads_on_one_optimizer_are_serialised_or_refused",
        ),
    ),
    Row(
        29,
        "fork after use of the pool, from two threads, during a step: right",
        None,
        tests=(
            "core/test_threads.py::test_a_forked_child_steps_with_the_same_bits",
            "core/test_threads.py::test_two_threads_that_fork_together_give_working_children",
            "core/test_threads.py::test_a_fork_during_a_step_gives_a_working_child",
            "core/test_threads.py::test_multiprocessing_children_step_with_the_same_bits",
        ),
    ),
    Row(
        30,
        "no thread can be created: serial; no memory",
        MemoryError,
        tests=(
            "core/test_threads.py::test_a_step_without_new_threads_is_serial_and_right",
            "core/test_limits.py::test_a_step_without_memory_changes_nothing",
            "core/test_limits.py::test_an_optimizer_without_memory_is_refused",
        ),
    ),
    Row(
        31,
        "bad FASTOPT_NUM_THREADS or FASTOPT_ISA",
        ImportError,
        tests=(
            "core/test_threads.py::test_a_bad_number_of_threads_in_the_environment_is_an_error_at_import",
            "core/test_exactness.py::"
            "test_an_unknown_isa_is_an_error_at_import_that_lists_those_there_are",
            "core/test_exactness.py::test_an_isa_that_the_cpu_lacks_is_an_error_at_import",
        ),
    ),
    Row(
        32,
        "Ctrl-C in a step: the whole step, then",
        KeyboardInterrupt,
        tests=(
            "core/test_process_end.py::test_an_interrupted_step_is_whole",
            "core/test_process_end.py::"
            "test_an_interrupted_step_of_an_optimizer_is_whole_in_every_tensor_and_counted",
            "core/test_process_end.py::test_the_interpreter_may_exit_during_a_step",
        ),
    ),
    Row(
        33,
        "a damaged, foreign or malicious state file",
        ValueError,
        tests=(
            "core/test_statefile.py::test_every_truncation_is_refused",
            "core/test_statefile.py::test_every_flipped_bit_is_refused",
            "core/test_statefile.py::test_foreign_file_is_refused",
            "core/test_statefile.py::test_newer_version_says_so",
            "core/test_statefile.py::test_huge_declared_length_allocates_nothing",
            "core/test_statefile.py::test_any_header_with_a_right_checksum_reads_or_is_refused",
            "core/test_class_loading.py::test_a_damaged_state_file_changes_nothing",
            "core/test_class_loading.py::test_a_state_file_of_another_optimizer_changes_nothing",
            "core/test_class_loading.py::test_a_state_file_of_other_tensors_changes_nothing",
            "core/test_class_loading.py::test_a_state_dict_of_other_tensors_is_refused",
        ),
    ),
    Row(
        34,
        "full or failing disk, SIGKILL during a save: the previous file loads",
        OSError,
        tests=(
            "core/test_statefile_writes.py::test_failing_call_leaves_the_previous_file",
            "core/test_statefile_writes.py::test_killed_process_leaves_a_whole_file",
        ),
    ),
    Row(
        35,
        "a study killed, locked, shared, damaged, or of another space or seed",
        ValueError,
        tests=(
            "tune/test_storage.py::test_killed_at_any_moment_the_file_opens_and_holds_what_was_told",
            "tune/test_storage.py::test_several_processes_share_a_file_without_a_repeat",
            "tune/test_storage_faults.py::test_a_lock_held_too_long_is_a_clear_error_and_changes_nothing",
            "tune/test_storage_faults.py::test_opening_a_file_that_is_locked_too_long_is_a_clear_error",
            "tune/test_storage_faults.py::test_the_lock_of_a_process_that_was_killed_is_gone_with_it",
            "tune/test_storage_faults.py::test_a_file_that_cannot_be_read_is_a_clear_error",
            "tune/test_storage_faults.py::test_a_path_that_cannot_be_written_is_a_clear_error",
            "tune/test_storage_faults.py::test_another_space_strategy_direction_or_seed_is_refused",
        ),
    ),
    Row(
        36,
        "an objective that raises, returns nonsense, hangs, kills: its trial fails",
        None,
        tests=(
            "tune/test_run.py::test_a_trial_that_raises_has_failed_and_the_study_goes_on",
            "tune/test_run.py::test_what_is_no_result_is_a_failure_everywhere",
            "tune/test_run_workers.py::test_a_worker_that_dies_costs_its_own_trial_only",
            "tune/test_run_workers.py::test_a_trial_that_hangs_fails_by_its_timeout_and_the_study_goes_on",
            "tune/test_run_workers.py::test_an_objective_that_cannot_be_sent_is_refused_before_any_trial",
        ),
    ),
    Row(
        37,
        "a bad space: before the first trial",
        ValueError,
        tests=(
            "tune/test_space.py::test_bad_space_is_refused_naming_the_parameter",
            "tune/test_parameters.py::test_bad_parameter_is_refused_with_what_it_got",
        ),
    ),
    Row(
        38,
        "subnormal arithmetic after import: still on",
        None,
        tests=("core/test_exactness.py::test_subnormal_arithmetic_is_still_on_after_import",),
    ),
    Row(
        39,
        "a subinterpreter",
        ImportError,
        tests=("core/test_limits.py::test_a_subinterpreter_is_refused",),
    ),
    Row(
        40,
        "an optimizer copied or dropped while another thread steps: whole or refused",
        RuntimeError,
        tests=(
            "core/test_threads.py::test_a_copy_while_another_thread_steps_is_whole_or_refused",
            "core/test_limits.py::test_an_optimizer_may_be_dropped_while_another_thread_steps",
        ),
    ),
    Row(
        41,
        "a folder that may only be read: new and old studies, state files",
        PermissionError,
        tests=(
            "tune/test_storage_faults.py::test_a_folder_that_may_only_be_read_is_a_clear_error",
        ),
    ),
    Row(
        42,
        "Ctrl-C in a study, wherever its trials run: what was told is stored, what ran is queued",
        KeyboardInterrupt,
        tests=(
            "tune/test_interrupts.py::"
            "test_sigint_ends_a_run_with_all_told_stored_and_no_process_left",
            "tune/test_interrupts.py::"
            "test_ctrl_c_in_a_terminal_reaches_all_processes_and_ends_the_study",
            "integrations/test_dask.py::"
            "test_sigint_ends_a_study_and_leaves_its_owners_cluster_as_usable_as_before",
        ),
    ),
    Row(
        43,
        "Ctrl-C that a destructor swallows",
        KeyboardInterrupt,
        tests=(
            "tune/test_interrupts.py::"
            "test_ctrl_c_that_a_destructor_swallows_ends_the_run_all_the_same",
        ),
    ),
    Row(
        44,
        "Ctrl-C, fork or other threads while a suggestion has OpenBLAS at one thread: put back",
        None,
        tests=(
            "tune/test_blas.py::test_ctrl_c_at_any_moment_leaves_as_many_threads_as_before",
            "tune/test_blas.py::test_a_child_forked_inside_has_the_threads_of_outside",
            "tune/test_blas.py::test_the_last_of_overlapping_callers_restores",
        ),
    ),
    Row(
        45,
        "a tracker or callback that fails: one warning, the study goes on",
        None,
        tests=(
            "tune/test_study.py::test_a_callback_that_raises_is_warned_of_once_and_stops_nothing",
            "integrations/test_trackers.py::"
            "test_tracker_that_fails_is_warned_of_once_and_the_study_goes_on",
        ),
    ),
    Row(
        46,
        "a foreign library that is missing: says what to install",
        ImportError,
        tests=("test_missing_packages.py::test_missing_library_is_named_with_what_to_install",),
    ),
    Row(
        47,
        "a norm over more than 2**31 elements, a NaN beyond: right",
        None,
        tests=(
            "core/test_large.py::test_the_norm_and_the_search_for_nan_reach_beyond_two_to_the_31",
        ),
    ),
]


@cache
def names_in(file):
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_its_row():
    assert [row.number for row in FAULTS] == list(range(1, 48))


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: f"{row.number}")
def test_what_shows_a_row_exists(row):
    assert row.arrays or row.tests
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in names_in(file), f"fault {row.number}, {row.fault}: there is no {test}"


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    ("row", "name"),
    [pytest.param(row, name, id=f"{row.number}-{name}") for row in FAULTS for name in row.arrays],
)
def test_a_bad_array_is_refused_with_the_exception_of_its_row(row, name, dtype):
    fault = BY_NAME[name]
    for rule in RULES:
        for argument in argument_names(rule, ()):
            if argument == "grad" and fault.read_only_grad_is_good:
                continue
            arrays = good_arrays(rule, (), dtype)
            arrays[argument] = fault.make(arrays[argument])
            words = {argument} if not fault.shape_or_dtype_of_another else set(arrays)
            assert_refused(rule, arrays, good_keywords(rule), row.error, words)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_no_eps_where_the_average_is_zero_gives_what_numpy_gives(dtype):
    for rule in RULES:
        if "eps" not in rule.hypers or not rule.squares:
            continue  # LARS adds eps to a norm
        keywords = {**rule.hypers, "lr": 0.1, "eps": 0.0}
        mine = [np.zeros(70, dtype) for _ in argument_names(rule, ())]
        mine[1][::3] = 1.0
        its = [array.copy() for array in mine]
        function_of(rule)(*mine, **{**keywords, **step_keyword(rule, 1000)})
        REFERENCE[rule.name](*its, **{**keywords, **step_keyword(rule, 1000)})
        assert np.isnan(mine[0][1])
        for a, b in zip(mine, its, strict=True):
            np.testing.assert_array_equal(a, b)
