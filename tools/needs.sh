# To be sourced: what the checks in this folder need from Debian's packages.

# install_packages PACKAGE...: if it may.
install_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $*"
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
                >/dev/null
    fi
}

# need COMMAND PACKAGE...: true if the command is there, or could be installed.
need() {
    command -v "$1" >/dev/null && return
    install_packages "${@:2}"
    command -v "$1" >/dev/null
}

# What could not be checked, as loud as a failure, though it is none of the code.
not_run() {
    printf '\n**** NOT RUN: %s\n\n' "$*" >&2
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
