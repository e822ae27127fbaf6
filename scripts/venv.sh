# Makes .venv and installs this checkout into it. Sourced by scripts/test and scripts/demo, from the repository's root.
#
# make_venv EXTRA   afterwards "$python" is an interpreter that has disttrack (editable) with that extra.
#
# Nothing is installed again while pyproject.toml and the checkout's place are what they were at the last time.
# PYTHON names the interpreter to make .venv with; without it the first of python3.11 ... python3.14, python3 is taken.

python=.venv/bin/python

say() { printf '== %s\n' "$*"; }

fail() {
    printf '== %s\n' "$*" >&2
    exit 1
}

# pyenv's shims and Debian's python3 without python3-venv exist but cannot do it: so ask each candidate to show it can.
can_make_venv() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3.11 python3.12 python3.13 python3.14 python3
    fi
    for candidate; do
        if can_make_venv "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    extra=$1
    if ! "$python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        base=$(find_python) || fail "No Python 3.11 or newer with the venv module found${PYTHON:+ at $PYTHON}." \
            "Install one (Debian, Ubuntu: apt-get install python3-venv), or name one: PYTHON=/path/to/python3 sh $0"
        say "Making .venv with $base"
        "$base" -m venv --clear .venv || fail "Could not make .venv."
    fi
    stamp=.venv/disttrack-$extra.stamp
    wanted=$({ pwd -P && cat pyproject.toml; } | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        say ".venv has disttrack[$extra] as pyproject.toml wants it"
        return
    fi
    say "Installing disttrack[$extra] and what it needs into .venv; the first time takes minutes (torch is large)"
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]" || fail "pip could not install."
    printf '%s\n' "$wanted" >"$stamp"
}
