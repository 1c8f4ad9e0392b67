#!/usr/bin/env bash
# Sanitizers and fuzzers: the pool under the thread sanitizer; programs of the C interface, random steps on
# all instruction sets, and the tests of the Python package, under the address and undefined-behaviour
# sanitizers; the reader of state files and the steps under coverage-guided fuzzers.
#
#     PYTHON=python tools/sanitizers.sh           # PYTHON has the tests' requirements
#     PYTHON=python tools/sanitizers.sh quick     # some of the tests, and no guided fuzzers
#     LIBRARY=usr/lib/libfastopt.a tools/sanitizers.sh quick    # which gcc has compiled before
#     SECONDS_EACH=600 tools/sanitizers.sh        # longer for each guided fuzzer (default 120)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tools/needs.sh"
quick=${1:-}
python=$(command -v "${PYTHON:-python3}")
seconds=${SECONDS_EACH:-120}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset FASTOPT_ISA FASTOPT_NUM_THREADS
export OPENBLAS_NUM_THREADS=1
needed=(-std=gnu11 -g -Wall -Wextra -Werror)
# The programs run for seconds and take longer to compile, so optimizing would cost more than it saves. So would the
# address sanitizer's code at each access; it calls a function instead.
level=-O1
calls=()
if [ -n "$quick" ]; then
    level=-O0
    calls=(--param asan-instrumentation-with-call-threshold=0)
fi
# The address sanitizer finds accesses through a null pointer or beyond an object. The other sanitizer's checks for
# both would take long to compile.
address=("$level" -fsanitize=address,undefined -fno-sanitize=null,object-size -fno-sanitize-recover=all "${calls[@]}")
# So that a step of a few elements takes the ways of one that no cache holds.
small_caches=(-DFO_OWN_CACHES=1024 -DFO_ALL_CACHES=8192 -DFO_LEAST_APART=512
    -DFO_MANY_BLOCKS=2)

library() { # library NAME FLAG...: compiles it, its sources side by side
    make -s -j"$(nproc)" -C "$root/csrc" CC=gcc "BUILD=$work/libraries/$1" "CFLAGS=${needed[*]} ${*:2}" \
        "$work/libraries/$1/libfastopt.a"
}

program() { # program NAME LIBRARY SOURCE FLAG...: compiles and links $work/NAME
    gcc "${needed[@]}" "-I$root/csrc" "${@:4}" "$3" "$work/libraries/$2/libfastopt.a" -o "$work/$1" -lm -pthread
}

echo "==== Programs"
# The pool, and the programs of the interface, know no instruction set.
undefined=("$level" -fsanitize=undefined -fno-sanitize-recover=all)
if [ -n "$quick" ]; then
    # Most of the time goes into compiling the rules' kernels, which all use the pool in the same way. So one of
    # them is compiled with the sanitizer, and the others without.
    plain=${LIBRARY:-}
    if [ -z "$plain" ]; then
        library plain -O1
        plain=$work/libraries/plain/libfastopt.a
    fi
    watched=("$root"/csrc/*.c "$root"/csrc/threads/*.c "$root/csrc/rules/adam.c" "$root/tests/c/threads.c")
    with_one_rule() { # with_one_rule NAME FLAG...: compiles and links $work/NAME
        gcc "${needed[@]}" "-I$root/csrc" -DFO_BASELINE_ONLY "${@:2}" "${watched[@]}" "$plain" \
            -o "$work/$1" -lm -pthread
    }
    with_one_rule forks "${undefined[@]}"
    with_one_rule races "$level" -fsanitize=thread -DWITHOUT_FORKS
else
    library forks "${undefined[@]}" -DFO_BASELINE_ONLY
    program forks forks "$root/tests/c/threads.c" "${undefined[@]}"
    library races "$level" -DFO_BASELINE_ONLY -fsanitize=thread
    program races races "$root/tests/c/threads.c" "$level" -fsanitize=thread -DWITHOUT_FORKS
fi
library addresses "${address[@]}" "${small_caches[@]}" -DFO_BASELINE_ONLY
program addresses addresses "$root/tests/c/threads.c" "${address[@]}" -DWITHOUT_FORKS
for source in "$root"/tests/c/{errors,rows,sparse}.c "$root/examples/linear_model.c"; do
    program "$(basename "$source" .c)" addresses "$source" "${address[@]}"
done
# Most of the code for vectors comes from the undefined-behaviour sanitizer. So the quick form uses it with one
# instruction set, and the address sanitizer with all of them.
if [ -n "$quick" ]; then
    program random-undefined addresses "$root/tests/c/fuzz.c" "${address[@]}" -DRUNS=2000 -DFO_BASELINE_ONLY
    steps=("$level" -fsanitize=address "${calls[@]}" -DRUNS=2000)
else
    steps=("${address[@]}" -DRUNS=50000)
fi
# fuzz.c has isa.c in it, so the library's is not linked.
library random "${steps[@]}" "${small_caches[@]}"
program random random "$root/tests/c/fuzz.c" "${steps[@]}"
echo "==== Threads and forks"
# A child of several threads may inherit the address sanitizer's own lock, held by a thread that it does
# not have (GCC 12, where every sixth run hung), so under that sanitizer nothing forks.
timeout 300 "$work/forks"
timeout 300 "$work/addresses"

echo "==== The thread sanitizer"
# Newer kernels place memory where this sanitizer does not expect it; containers may forbid to ask
# for another place.
fixed=(setarch "$(uname -m)" -R)
"${fixed[@]}" true 2>/dev/null || fixed=()
timeout 300 "${fixed[@]}" "$work/races"

echo "==== Programs of the interface under the address and undefined-behaviour sanitizers"
for name in errors rows sparse linear_model; do
    "$work/$name" >"$work/output" || fail "$name: $(cat "$work/output")"
done

echo "==== Random steps under the address and undefined-behaviour sanitizers"
[ -z "$quick" ] || "$work/random-undefined"
"$work/random"

echo "==== The Python package under the address and undefined-behaviour sanitizers"
mkdir "$work/tree"
# Without the caches, which change while tests run beside.
tar -C "$root" --exclude=__pycache__ --exclude='*.so' -cf - \
    csrc docs examples src tests tools setup.py pyproject.toml README.md LICENSE |
    tar -C "$work/tree" -xf -
(
    cd "$work/tree"
    # setup.py has the last word; at its level the sanitized kernels take twice as long to compile.
    sed -i "s/\"-O[23]\"/\"$level\"/" setup.py
    if [ -n "$quick" ]; then
        # The library is the one above. The random steps test the kernels of all instruction sets.
        sed -i -e '/^ *\*relative("csrc\/.*\.c"),$/d' \
            -e "s|^    include_dirs=|    extra_objects=['$work/libraries/addresses/libfastopt.a'],\n&|" setup.py
        if grep -q 'relative("csrc/.*\.c")' setup.py || ! grep -q extra_objects setup.py; then
            fail "setup.py is not written as this script expects"
        fi
    fi
    CFLAGS="${address[*]}" LDFLAGS="-fsanitize=address,undefined" "$python" setup.py -q build_ext --inplace
    tests=(--all -m "not own_memory and not compiler" tests)
    [ -z "$quick" ] || tests=(-m "not own_memory and not slow"
        tests/core/test_faults.py tests/core/test_nesterov.py tests/core/test_limits.py
        tests/core/test_statefile.py tests/core/test_statefile_writes.py)
    # What the tests start runs under the sanitizers too. A compiler would need hours there.
    # Objects that live as long as Python are no leaks. Small ones come from malloc, which is watched.
    # The limits of memory in a test would be those of the sanitizer's own maps.
    ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH="$work/tree/src" \
        LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
        "$python" -m pytest -q -p no:cacheprovider "${tests[@]}"
)

if [ -z "$quick" ]; then
    echo "==== libFuzzer, $seconds s"
    without_isa=()
    for source in "$root"/csrc/*.c "$root"/csrc/rules/*.c "$root"/csrc/threads/*.c; do
        [ "$source" = "$root/csrc/isa.c" ] || without_isa+=("$source")
    done
    guided() { # guided CLANG: compiles the fuzzer
        "$1" "${needed[@]}" "-I$root/csrc" "${address[@]}" "${small_caches[@]}" -fsanitize=fuzzer \
            "$root/tests/c/fuzz.c" "${without_isa[@]}" -o "$work/guided" -lm -pthread 2>"$work/guided.log"
    }
    # A clang may be there without its run-time library.
    if guided clang || {
        install_packages clang-14 libclang-rt-14-dev libfuzzer-14-dev
        guided clang-14
    }; then
        mkdir "$work/corpus"
        (cd "$work" && ./guided "-max_total_time=$seconds" -max_len=600 -print_final_stats=1 corpus \
            >guided.log 2>&1) || fail "$(tail -40 "$work/guided.log")"
        grep -E '^Done|^stat::number' "$work/guided.log"
    else
        not_run "libFuzzer: $(tail -1 "$work/guided.log")"
    fi
    echo "==== atheris, $seconds s"
    if "$python" -m venv "$work/venv" && "$work/venv/bin/pip" install -q numpy atheris; then
        # In the folder of its own: it leaves inputs that it thinks slow where it runs.
        (cd "$work" && "$work/venv/bin/python" \
            "$root/tests/core/fuzz_statefile.py" "$root/src/fastopt/_statefile.py" \
            "-max_total_time=$seconds" -print_final_stats=1 >atheris.log 2>&1) ||
            fail "$(tail -40 "$work/atheris.log")"
        grep -E '^Done|^stat::number' "$work/atheris.log"
    else
        not_run "atheris: it could not be installed"
    fi
fi
