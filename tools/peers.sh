#!/usr/bin/env bash
# The peers' own tests, from their installed packages and, where these have none, from their source
# distributions, with our classes in place of theirs.
#
#     PYTHON=python tools/peers.sh               # all parts; PYTHON has fastopt and all peers
#     PYTHON=python tools/peers.sh torch thinc   # some
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tools/needs.sh"
python=$(command -v "${PYTHON:-python3}")
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 OPENBLAS_NUM_THREADS=1
unset FASTOPT_ISA FASTOPT_NUM_THREADS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fastopt and nothing else of where it is installed, for other environments of the same Python.
sources=
ls "$root"/src/fastopt/_core*.so >/dev/null 2>&1 && sources=$root/src:
package=$(PYTHONPATH="$sources${PYTHONPATH:-}" "$python" -c \
    'import fastopt, pathlib; print(pathlib.Path(fastopt.__file__).parent)')
mkdir "$work/alone"
ln -s "$package" "$work/alone/fastopt"
export PYTHONPATH=$work/alone:$root/tools/peers
pytest=(-m pytest -q -p no:cacheprovider -c /dev/null)

# torch: the inputs that torch's tests of optimizers have
peer_torch() {
    "$python" -m pip install -q --target "$work/expecttest" expecttest
    PYTHONPATH=$PYTHONPATH:$work/expecttest "$python" "${pytest[@]}" --rootdir "$root/tools/peers" \
        "$root/tools/peers/test_torch_optimizers.py"
}

# prodigyopt, which has no tests: ours of the drop-in for it, with it in place of the twin
peer_prodigyopt() {
    "$python" -m pip install -q --no-deps --target "$work/prodigyopt" prodigyopt==1.1.2
    PYTHONPATH=$PYTHONPATH:$work/prodigyopt:$root/tests/integrations "$python" "${pytest[@]}" \
        --rootdir "$root/tests" -p prodigyopt_for_the_twin \
        "$root"/tests/integrations/test_torch_prodigy*.py
}

# timm, lion-pytorch, schedulefree, pytorch_optimizer: their optimizers that torch lacks, beside ours
peer_packages() {
    "$python" -m pip install -q --no-deps --target "$work/packages" timm==1.0.31 lion-pytorch==0.2.5 \
        schedulefree==1.4.1 pytorch_optimizer==4.1.0
    PYTHONPATH=$PYTHONPATH:$work/packages:$root/tests/integrations "$python" "${pytest[@]}" \
        --rootdir "$root/tools/peers" "$root/tools/peers/test_torch_packages.py"
}

# Thinc: all of its tests in which an optimizer steps. $1 is a Python that has a Thinc.
thinc_tests() {
    local tests
    tests=$("$1" -c 'import os, thinc; print(os.path.dirname(thinc.__file__))')/tests
    "$1" "${pytest[@]}" --rootdir "$tests" -p thinc_with_our_optimizer "$tests/test_optimizers.py" \
        "$tests/model/test_model.py" "$tests/layers/test_linear.py" \
        "$tests/layers/test_sparse_linear.py" "$tests/layers/test_basic_tagger.py" \
        "$tests/layers/test_shim.py"
}

# Thinc 9 where PYTHON is, and Thinc 8.3 beside the stable spaCy, in an environment of its own
peer_thinc() {
    "$python" -m pip install -q --target "$work/mock" mock
    "$python" -c 'import thinc; print("Thinc", thinc.__version__)'
    PYTHONPATH=$PYTHONPATH:$work/mock thinc_tests "$python"
    "$python" -m venv "$work/spacy"
    local spacy=$work/spacy/bin/python
    "$spacy" -m pip install -q --only-binary :all: 'thinc>=8.3,<9' 'spacy>=3.8,<4' \
        pytest hypothesis scipy mock
    "$spacy" -c 'import spacy, thinc; print("Thinc", thinc.__version__, "spaCy", spacy.__version__)'
    thinc_tests "$spacy"
    "$spacy" "${pytest[@]}" --rootdir "$root/tests" "$root/tests/integrations/test_thinc.py" \
        "$root/tests/integrations/test_spacy.py"
}

# Optuna: its tests of samplers, of the very version that is installed
peer_optuna() {
    local version
    version=$("$python" -c 'import optuna; print(optuna.__version__)')
    "$python" -m pip download -q --no-binary optuna --no-deps -d "$work/optuna" "optuna==$version"
    tar -xzf "$work/optuna/optuna-$version.tar.gz" -C "$work/optuna"
    # A used-up grid ends the study, and the tests want ten trials of three choices, or of two.
    OPTUNA_SOURCE=$work/optuna/optuna-$version "$python" "${pytest[@]}" \
        --rootdir "$root/tools/peers" "$root/tools/peers/test_optuna_samplers.py" \
        --deselect "test_optuna_samplers.py::TestBasicSampler::test_single_parameter_objective[grid-<lambda>2]" \
        --deselect "test_optuna_samplers.py::TestBasicSampler::test_conditional_parameter_objective[grid]"
}

# scikit-learn: its tests of searches
peer_sklearn() {
    local tests
    tests=$("$python" -c 'import os, sklearn; print(os.path.dirname(sklearn.__file__))')
    tests=$tests/model_selection/tests
    "$python" "${pytest[@]}" --rootdir "$tests" -p sklearn_with_our_search "$tests/test_search.py"
}

# SciPy: those of its tests that are for any minimiser
peer_scipy() {
    "$python" "${pytest[@]}" --rootdir "$root/tools/peers" \
        "$root/tools/peers/test_scipy_minimizers.py"
}

# DeepSpeed: its engine with our optimizers, on its CPU accelerator, in an environment of its own
# that takes torch from where PYTHON is
peer_deepspeed() {
    "$python" -m venv "$work/deepspeed"
    local deepspeed=$work/deepspeed/bin/python
    "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$("$deepspeed" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
    "$deepspeed" -m pip install -q einops hjson msgpack ninja packaging psutil py-cpuinfo pydantic \
        setuptools tqdm wheel
    DS_BUILD_OPS=0 DS_ACCELERATOR=cpu "$deepspeed" -m pip install -q --no-build-isolation --no-deps \
        deepspeed==0.19.8
    DS_ACCELERATOR=cpu OMP_NUM_THREADS=1 "$deepspeed" "${pytest[@]}" --rootdir "$root/tools/peers" \
        "$root/tools/peers/test_deepspeed.py" --doctest-modules \
        "$package/integrations/deepspeed.py"
}

[ $# -gt 0 ] || set -- torch prodigyopt packages thinc optuna sklearn scipy deepspeed
for part; do
    echo "==== $part"
    "peer_$part"
done
