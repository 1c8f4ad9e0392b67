#!/usr/bin/env bash
# One result on every CPU and system: compiles the C library and tests/c/hashes.c with gcc and clang, for
# x86-64 and aarch64, and runs the program on emulated CPUs; and for Windows, and runs it in Wine. Every
# run must print tests/c/hashes.txt, and the dispatcher must have picked what the CPU can run.
#
#     tools/emulators.sh              # everything
#     tools/emulators.sh quick        # Linux, gcc, one CPU of each kind, some rules
#     X86_LIBRARY=usr/lib/libfastopt.a tools/emulators.sh quick    # which gcc has compiled before
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tools/needs.sh"
quick=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset FASTOPT_ISA
# The emulator runs threads one after the other; two still cut the work in two.
export FASTOPT_NUM_THREADS=2
equal=0 refused=0
level=-O3 rules=()
pinned=$root/tests/c/hashes.txt
cp "$pinned" "$work/emulated"
if [ -n "$quick" ]; then
    level=-O1 # compiles faster
    # Without a root, with one, with optional states, with only a sign, and with norms
    rules=(sgd adam rmsprop lion lamb)
    grep -E "^($(IFS='|' && echo "${rules[*]}")) " "$pinned" >"$work/emulated"
fi

compile() { # compile PROGRAM COMPILER...: from tests/c/$source.c
    local program=$1
    shift
    "$@" "$level" -std=gnu11 -Wall -Wextra -Werror -I"$root/csrc" \
        "$root"/csrc/*.c "$root"/csrc/rules/*.c "$root"/csrc/threads/*.c "$root/tests/c/${source:-hashes}.c" \
        -o "$work/$program" -lm -pthread
}

expect() { # expect ISA COMMAND...
    local isa=$1 lines=$pinned
    shift
    if [[ $1 = qemu-* ]]; then
        set -- "$@" "${rules[@]}"
        lines=$work/emulated
    fi
    "$@" >"$work/out" 2>"$work/err" || fail "$*: $(cat "$work/err")"
    # The emulator warns of features that it leaves out; Windows ends lines in its own way.
    local runs_with
    runs_with=$(grep -v '^qemu-.*warning' "$work/err" | tr -d '\r')
    [ "$runs_with" = "$isa" ] || fail "$*: runs $runs_with, not $isa"
    tr -d '\r' <"$work/out" | cmp - "$lines" || fail "$*: other bits"
    equal=$((equal + 1))
    echo "equal bits: $isa, ${*/$work\//}"
}

refuse() { # refuse COMMAND...: an instruction set that the CPU lacks ends in a sentence
    local status=0
    "$@" >/dev/null 2>"$work/err" || status=$?
    [ "$status" = 1 ] || fail "$*: status $status"
    grep -q "can run only" "$work/err" || fail "$*: $(cat "$work/err")"
    refused=$((refused + 1))
    echo "refused: ${*/$work\//}"
}

x86() { # x86 PROGRAM
    local program=$work/$1
    expect baseline qemu-x86_64 -cpu Nehalem "$program"
    refuse qemu-x86_64 -cpu Nehalem -E FASTOPT_ISA=avx2 "$program"
    expect avx2 qemu-x86_64 -cpu Haswell "$program"
    refuse qemu-x86_64 -cpu Haswell -E FASTOPT_ISA=avx512 "$program"
    # FMA without AVX2, as a careless hypervisor offers it
    expect baseline qemu-x86_64 -cpu Haswell,-avx2 "$program"
    if [ -z "$quick" ]; then
        expect baseline qemu-x86_64 -cpu SandyBridge "$program"
        expect avx2 qemu-x86_64 -cpu max "$program"
    fi
}

arm() { # arm PROGRAM
    expect neon qemu-aarch64 -cpu cortex-a53 -L /usr/aarch64-linux-gnu "$work/$1"
    if [ -z "$quick" ]; then
        expect neon qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu "$work/$1"
    fi
}

native() { # native COMMAND...
    local isa
    for isa in $(grep -qw avx512dq /proc/cpuinfo && echo avx512) \
        $(grep -qw avx2 /proc/cpuinfo && echo avx2) baseline; do
        expect "$isa" env FASTOPT_ISA="$isa" "$@"
    done
}

windows() {
    local gcc=x86_64-w64-mingw32-gcc-posix
    local libraries
    libraries=$(dirname "$("$gcc" -print-libgcc-file-name)")
    # Wine starts with what it says about the folder that it makes.
    export WINEPREFIX=$work/wine WINEDEBUG=-all
    wine wineboot >/dev/null 2>&1 || fail "wineboot"

    # GCC compiles no other instruction set for Windows.
    compile gcc.exe "$gcc" -static
    expect baseline wine "$work/gcc.exe"
    refuse env FASTOPT_ISA=avx2 wine "$work/gcc.exe"
    local source
    for source in errors threads; do
        compile "$source.exe" "$gcc" -static -DWITHOUT_FORKS
        wine "$work/$source.exe" || fail "$source.exe"
        echo "passed: wine $source.exe"
    done
    if [ -n "$clang" ]; then
        source=hashes
        compile clang.exe "$clang" --target=x86_64-w64-windows-gnu -static "-L$libraries" \
            "--ld-path=$(command -v x86_64-w64-mingw32-ld)"
        native wine "$work/clang.exe"
        refuse env FASTOPT_ISA=neon wine "$work/clang.exe"
    fi
    wineserver -k
}

machine=$(uname -m)
clang=$(command -v clang || command -v clang-14 || true)
if [ -z "$quick" ] && [ -z "$clang" ] && need clang-14 clang-14; then clang=clang-14; fi

if [ "$machine" = x86_64 ]; then
    if [ -n "${X86_LIBRARY:-}" ]; then
        gcc -O2 -Wall -Wextra -Werror -I"$root/csrc" "$root/tests/c/hashes.c" "$X86_LIBRARY" \
            -o "$work/gcc-x86" -lm -pthread
    else
        compile gcc-x86 gcc
    fi
    # The tests of the C library run one that was compiled before on this CPU.
    [ -n "${X86_LIBRARY:-}" ] || native "$work/gcc-x86"
    if need qemu-x86_64 qemu-user; then x86 gcc-x86; else not_run "older x86-64 CPUs: no qemu-user"; fi
    if [ -z "$quick" ] && [ -n "$clang" ]; then
        compile clang-x86 "$clang"
        native "$work/clang-x86"
        x86 clang-x86
    fi
    if [ -z "$quick" ]; then
        if need wine wine wine64 &&
            need x86_64-w64-mingw32-gcc-posix gcc-mingw-w64-x86-64-posix; then
            windows
        else
            not_run "Windows: no Wine or cross compiler"
        fi
    fi
else
    not_run "x86-64 CPUs: this machine is $machine"
fi

if need qemu-aarch64 qemu-user &&
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross; then
    compile gcc-arm aarch64-linux-gnu-gcc
    arm gcc-arm
    if [ -z "$quick" ] && [ -n "$clang" ]; then
        compile clang-arm "$clang" --target=aarch64-linux-gnu
        arm clang-arm
    fi
else
    not_run "aarch64: no qemu-user or cross compiler"
fi
if [ -z "$quick" ] && [ -z "$clang" ]; then not_run "clang: not installed"; fi
echo "$equal runs on native and emulated CPUs and systems gave the pinned bits, $refused were refused rightly"
[ "$equal" -gt 0 ] || fail "nothing was run"
