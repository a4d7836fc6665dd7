#!/bin/sh
# dlimg-reset: takes the environment that you install into back to the state of the image's tag.
set -eu
. /usr/local/lib/dlimg/find-overlay

usage() {
    cat <<'END'
dlimg-reset [--yes]              remove what you have installed; code, data and outputs stay
dlimg-reset --name NAME [--yes]  the same for an environment of `dlimg-overlay --name`
dlimg-reset --mark               what is installed now belongs to the image: for a Dockerfile
END
}

fail() {
    echo "dlimg-reset: $1" >&2
    exit 2
}

find_overlay
is_agreed= only_mark=
while [ $# -gt 0 ]; do
    case $1 in
        --yes | -y) is_agreed=yes ;;
        --mark) only_mark=yes ;;
        --name)
            shift
            case ${1:-} in '' | */*) fail "--name wants the name of an environment" ;; esac
            [ -w "${HOME:-/}" ] || HOME={{ cell.user.home }}
            [ -w "$HOME" ] || HOME=/tmp/home-$(id -u)
            DLIMG_OVERLAY=$HOME/envs/$1
            ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
folder=$DLIMG_OVERLAY
mark=$folder/.dlimg-tagged
grep -qs '^made-by = dlimg$' "$folder/pyvenv.cfg" || fail "there is no environment in $folder"
[ -w "$folder" ] || fail "$folder belongs to another user"

# The packages as `name==version`, a line each.
installed() {
    for packages in "$folder"/lib/python3*/site-packages/*.dist-info; do
        [ -d "$packages" ] || continue
        name=${packages##*/}
        name=${name%.dist-info}
        echo "${name%-*}==${name##*-}"
    done | sort
}

if [ -n "$only_mark" ]; then
    installed >"$mark"
    echo "dlimg-reset: $(wc -l <"$mark") packages in $folder belong to the image from now on"
    exit 0
fi

# As the image has it: nothing, or what was marked.
before=$(mktemp)
trap 'rm -f "$before"' EXIT
[ ! -e "$mark" ] || cat "$mark" >"$before"
more=$(installed | comm -23 - "$before")
gone=$(installed | comm -13 - "$before")
if [ -z "$more" ] && [ -e "$mark" ]; then
    echo "dlimg-reset: nothing is installed in $folder beside what came with the image"
else
    echo "dlimg-reset: this removes from $folder:" ${more:-"nothing but leftovers"}
    echo "dlimg-reset: /code, /data, /output and all else in your home stay"
    if [ -z "$is_agreed" ]; then
        [ -t 0 ] || fail "nothing was removed: add --yes"
        printf 'Go on? [y/N] ' >&2
        read -r answer || true
        case ${answer:-} in [yY]*) ;; *) exit 1 ;; esac
    fi
fi

if [ -e "$mark" ]; then
    [ -z "$more" ] || "$folder/bin/python" -m pip uninstall --quiet --yes $(echo "$more" | sed 's/==.*//')
else
    # Moved first, so that a Python which runs meanwhile misses its environment for a moment only.
    old=$folder/.dlimg-old-$$
    mkdir "$old"
    find "$folder" -mindepth 1 -maxdepth 1 ! -name '.dlimg-*' ! -name lost+found \
        -exec mv -t "$old" {} +
    name=$(sed -n 's/^name = //p' "$old/pyvenv.cfg")
    /usr/local/bin/dlimg-overlay "$folder" ${name:+"$name"}
    rm -rf "$old"
fi
[ -z "$gone" ] || echo "dlimg-reset: of the image's own these are gone: pip install" $gone
echo "dlimg-reset: $folder is as the image brought it; restart kernels and programs that use it"
