# Sourced by ./podwire and ./test: bring this machine to where podwire runs, once, and quickly see that it still is.
# Sets $python. Expects $root (the checkout) and $want (run or dev). Safe to run twice, or twice at once.

say() { printf '%s\n' "podwire: $*" >&2; }
die() { say "$*"; exit 1; }

# Packages whose command is missing, from a list of "command package" lines.
missing_packages() {
    while read -r command package _; do
        case "$command" in ''|'#'*) continue ;; esac
        command -v "$command" >/dev/null 2>&1 || printf '%s ' "$package"
    done < "$1"
}

install_packages() {
    missing=$(missing_packages "$root/requirements/apt.txt")
    [ "$want" = run ] || missing="$missing$(missing_packages "$root/requirements/apt-dev.txt")"
    if ! command -v python3 >/dev/null 2>&1 || ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
        missing="$missing python3-venv"
    fi
    [ -n "${missing# }" ] || return 0
    command -v apt-get >/dev/null 2>&1 || die "these are missing: $missing; install them (this is no Debian or Ubuntu)"
    [ "$(id -u)" = 0 ] || die "these packages are missing: $missing; run once as root (sudo $0 ...) to install them"
    say "installing packages: $missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of package names
    apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1 || {
        apt-get update -qq >>"$log" 2>&1 || true
        # shellcheck disable=SC2086
        apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1 ||
            { tail -n 20 "$log" >&2; die "apt-get could not install: $missing"; }
    }
}

install_python() {
    venv="$root/.venv"
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || {
        say "making a virtual environment"
        rm -rf "$venv"
        python3 -m venv "$venv" >"$log" 2>&1 || { cat "$log" >&2; die "python3 -m venv failed"; }
    }
    pip="$venv/bin/python -m pip --disable-pip-version-check -q"
    [ -x "$venv/bin/uv" ] || {
        say "installing the package installer"
        $pip install --require-hashes -r "$root/requirements/uv.lock" >"$log" 2>&1 || { cat "$log" >&2; die "pip failed"; }
    }
    lock=podwire.lock
    [ "$want" = run ] || lock=dev.lock
    say "installing Python packages ($lock)"
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" --require-hashes --compile-bytecode \
        -r "$root/requirements/$lock" >"$log" 2>&1 || { cat "$log" >&2; die "uv could not install $lock"; }
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$root/src" > "$site/podwire.pth"
    "$venv/bin/python" -m compileall -q "$root/src" >/dev/null 2>&1 || true
}

bootstrap() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        ! command -v python3 >/dev/null 2>&1 || die "Python 3.11 or newer is needed; this machine has $(python3 -V 2>&1)"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    install_packages
    install_python
    "$root/.venv/bin/python" -m podwire.cni.build || die "the CNI binary did not compile"
    printf '%s\n' "$fingerprint" > "$root/.venv/.podwire-$want"
    rm -f "$log"
    trap - EXIT
}

# What the environment was made from: any change of it, of the interpreter or of the checkout's place makes it anew.
fingerprint="$root $(python3 -V 2>&1) $(cat "$root"/requirements/*.lock "$root"/requirements/*.txt "$root"/requirements/bootstrap.sh \
    "$root"/src/podwire/cni/shim/*.[ch] 2>/dev/null | cksum)"
ready() { [ -f "$1" ] && [ "$(cat "$1")" = "$fingerprint" ]; }

if ! ready "$root/.venv/.podwire-$want" && ! { [ "$want" = run ] && ready "$root/.venv/.podwire-dev"; }; then
    command -v flock >/dev/null 2>&1 || die "flock is missing; install util-linux"
    exec 9>"$root/.bootstrap.lock"
    flock 9
    ready "$root/.venv/.podwire-$want" || bootstrap
    exec 9>&-
fi
python="$root/.venv/bin/python"
