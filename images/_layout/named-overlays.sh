#!/bin/sh
# Further environments of this user, by name, in ~/envs; each is a kernel of Jupyter.
set -eu

usage() {
    cat <<'END'
dlimg-overlay --name NAME [COMMAND ...]  make an environment, or run a command in it
dlimg-overlay --list                     your environments, and what each has installed
dlimg-overlay --remove NAME [--yes]      remove one with all that it has installed
dlimg-overlay FOLDER                     make or update one in a folder
END
}

fail() {
    echo "dlimg-overlay: $1" >&2
    exit 2
}

# As the entry point does.
if [ "${HOME:-/}" = / ] || [ ! -w "$HOME/." ] || [ "$HOME" = "${HOME#/}" ]; then
    export HOME={{ cell.user.home }}
    if [ ! -w "$HOME" ]; then
        HOME=/tmp/home-$(id -u)
        mkdir -p -m 700 "$HOME"
    fi
fi
folders=$HOME/envs
kernels=${JUPYTER_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/jupyter}/kernels

check_name() {
    [ -n "$1" ] || fail "name the environment"
    case $1 in
        .* | -* | *[!A-Za-z0-9._-]*) fail "$1: a name has letters, digits, and . _ - inside" ;;
    esac
}

has_jupyter() {
    for packages in "$1"/lib/python3*/site-packages /opt/env/lib/python/site-packages; do
        [ ! -d "$packages/ipykernel" ] || return 0
    done
    return 1
}

# Text as a string of JSON has it.
escaped() {
    printf %s "$1" | sed 's/["\\]/\\&/g'
}

write_kernel() {
    folder=$(escaped "$folders/$1")
    mkdir -p "$kernels/dlimg-$1"
    cat >"$kernels/dlimg-$1/kernel.json" <<END
{
  "argv": ["$folder/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
  "display_name": "Python 3 ($1)",
  "language": "python",
  "metadata": {"debugger": true},
  "env": {"DLIMG_OVERLAY": "$folder", "PATH": "$folder/bin:\${PATH}"}
}
END
}

make_or_run() {
    check_name "${1:-}"
    name=$1
    folder=$folders/$name
    shift
    state='is there already'
    [ -e "$folder/pyvenv.cfg" ] || state='is made'
    mkdir -p "$folders"
    /usr/local/bin/dlimg-overlay "$folder" "$name"
    kernel=
    if has_jupyter "$folder"; then
        write_kernel "$name"
        kernel=" It is the kernel \`Python 3 ($name)\` in Jupyter."
    fi
    if [ $# = 0 ]; then
        echo "$folder $state: it has the image's packages and none of yours.$kernel"
        echo "\`dlimg-overlay --name $name pip install ...\` installs into it," \
            "\`dlimg-overlay --name $name python ...\` runs there."
        exit 0
    fi
    export DLIMG_OVERLAY="$folder"
    PATH=$folder/bin:$PATH
    exec "$@"
}

list() {
    . /usr/local/lib/dlimg/find-overlay
    find_overlay
    for folder in "$DLIMG_OVERLAY" "$folders"/*; do
        [ -e "$folder/pyvenv.cfg" ] || continue
        name=$(sed -n 's/^name = //p' "$folder/pyvenv.cfg")
        count=$(find "$folder"/lib/*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l)
        echo "${name:-(default)}  $folder  $count packages"
    done
}

remove() {
    check_name "${1:-}"
    folder=$folders/$1
    grep -qs '^made-by = dlimg$' "$folder/pyvenv.cfg" || fail "there is no environment $1 in $folders"
    if [ "${2:-}" != --yes ]; then
        [ -t 0 ] || fail "this removes $folder with all that it has installed: add --yes"
        printf 'Remove %s with all that it has installed? [y/N] ' "$folder" >&2
        read -r answer || true
        case ${answer:-} in [yY]*) ;; *) exit 1 ;; esac
    fi
    rm -rf "$folder" "$kernels/dlimg-$1"
}

case ${1:-} in
    --name)
        shift
        make_or_run "$@"
        ;;
    --list) list ;;
    --remove)
        shift
        remove "$@"
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
