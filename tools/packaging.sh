#!/usr/bin/env bash
# From the source distribution to an installed package, for each Python: builds the wheel from the
# sdist, checks its size, what it links and the symbols that it imports, installs it beside the oldest
# and the newest NumPy, and runs a part of the tests on what was installed. Import must be quick and
# leave SciPy alone.
#
#     PYTHONS="python3.10 python3.13" tools/packaging.sh     # default: each python3.1x that is found
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tools/needs.sh"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 OPENBLAS_NUM_THREADS=1
unset PYTHONPATH FASTOPT_ISA FASTOPT_NUM_THREADS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${PYTHONS:-}" ]; then
    for minor in 10 11 12 13 14; do
        for candidate in "python3.$minor" "$HOME/.pyenv/versions/3.$minor".*/bin/python; do
            if "$candidate" -c '' 2>/dev/null; then
                PYTHONS="${PYTHONS:-} $candidate"
                break
            fi
        done
    done
fi
read -ra pythons <<<"${PYTHONS:-}"
[ "${#pythons[@]}" -gt 0 ] || fail "no python3.10 or later was found"

"${pythons[-1]}" -m venv "$work/tools"
"$work/tools/bin/pip" install -q build auditwheel
if "$work/tools/bin/pip" install -q 'cibuildwheel>=3.1'; then
    for system in "linux --archs x86_64" "linux --archs aarch64" "macos --archs arm64" windows; do
        read -ra words <<<"$system"
        echo "cibuildwheel for ${words[0]}:" \
            "$("$work/tools/bin/cibuildwheel" --print-build-identifiers --platform "${words[@]}" \
                "$root" | tr '\n' ' ')"
    done
else
    not_run "cibuildwheel's check of its settings: it needs Python 3.11"
fi
"$work/tools/bin/python" -m build -q --sdist --outdir "$work/dist" "$root"
# Only the tests are taken from the tree, so that nothing but the installed package is found.
cp -R "$root/tests" "$root/pyproject.toml" "$work"

# The oldest NumPy that the Python has, of those that pyproject.toml allows.
oldest() {
    case $("$1" -c 'import sys; print(sys.version_info[1])') in
    10 | 11) echo "numpy==1.25.0" "scipy==1.11.1" ;;
    12) echo "numpy==1.26.0" "scipy==1.11.3" ;;
    13) echo "numpy==2.1.0" "scipy==1.14.1" ;;
    *) echo "numpy" "scipy" ;;
    esac
}

for python in "${pythons[@]}"; do
    echo "==== $("$python" --version)"
    rm -rf "$work/wheel" "$work/venv"
    "$python" -m venv "$work/venv"
    bin=$work/venv/bin
    "$bin/pip" wheel -q --no-deps -w "$work/wheel" "$work"/dist/*.tar.gz
    wheel=$(echo "$work"/wheel/*.whl)
    size=$(stat -c %s "$wheel" 2>/dev/null || stat -f %z "$wheel")
    echo "$(basename "$wheel"): $size bytes"
    [ "$size" -lt 1000000 ] || fail "the wheel has $size bytes, not < 1 MB"
    if [ "$(uname)" = Linux ]; then
        "$work/tools/bin/auditwheel" show "$wheel" | tr '\n' ' ' | tee "$work/audit"
        echo
        manylinux=$(grep -oE 'manylinux_[0-9]+_[0-9]+_[a-z0-9_]+' "$work/audit" | head -1)
        [ -n "$manylinux" ] || fail "the wheel fits no manylinux"
        "$bin/python" "$root/tools/check_symbols.py" "$wheel" "$manylinux"
    fi
    "$bin/pip" install -q pytest hypothesis
    read -ra old <<<"$(oldest "$python")"
    for versions in "${old[*]}" "-U numpy scipy"; do
        read -ra words <<<"$versions"
        "$bin/pip" install -q --only-binary numpy,scipy "${words[@]}"
        "$bin/pip" install -q --no-deps --force-reinstall "$wheel"
        "$bin/pip" check
        "$bin/python" -c "import numpy, fastopt; print(numpy.__version__); fastopt.show_config()"
        (cd "$work" && "$bin/python" -m pytest -q -p no:cacheprovider tests/core/test_nesterov.py \
            tests/core/test_faults.py tests/core/test_statefile.py tests/core/test_statefile_writes.py \
            tests/core/test_schedules.py)
    done
    "$bin/python" "$root/tools/check_import.py"
done
