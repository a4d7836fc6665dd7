#!/bin/sh
# dlimg-overlay FOLDER: makes FOLDER an environment to install into, or brings it up to date with
# this image. What is installed there comes first, then what an image built on this one has
# installed, then what this image holds. Says no to a folder that is something else. Each file is
# there at once and whole, because several Pythons may start at the same time.
set -eu
PATH=/usr/bin:/bin

folder=$1
interpreter=$(readlink -f /usr/local/lib/dlimg/python)
python=$(basename "$interpreter")
packages=$folder/lib/$python/site-packages
mark=.dlimg-$$
trap 'rm -f "$folder/$mark" "$folder/bin/$mark" "$packages/$mark"' EXIT

# An empty volume may hold what its file system has put there. It is listed before the look into
# it: the first that another process leaves is the file that says whose it is.
is_ours() {
    there=$(ls -A "$folder" 2>/dev/null | grep -v -e '^\.dlimg-' -e '^lost+found$' || true)
    [ -z "$there" ] || grep -qs '^made-by = dlimg$' "$folder/pyvenv.cfg"
}

# write FILE: what comes in becomes the file; one that is the same already is left alone.
write() {
    cat >"${1%/*}/$mark"
    cmp -s "${1%/*}/$mark" "$1" || mv -f "${1%/*}/$mark" "$1"
    rm -f "${1%/*}/$mark"
}

# link TARGET FILE
link() {
    [ "$(readlink "$2" || true)" = "$1" ] && return
    ln -s "$1" "${2%/*}/$mark"
    mv -fT "${2%/*}/$mark" "$2"
}

if ! is_ours; then
    echo "dlimg-overlay: $folder exists and was not made by dlimg-overlay" >&2
    exit 1
fi
[ -d "$folder" ] || is_new=yes
mkdir -p "$folder"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\nmade-by = dlimg\n' \
    "${interpreter%/*}" "${python#python}" | write "$folder/pyvenv.cfg"
mkdir -p "$folder/bin" "$packages"
for below in /home/user/env /opt/env; do
    [ "$below" = "$folder" ] || echo "import site; site.addsitedir('$below/lib/$python/site-packages')"
done | write "$packages/dlimg.pth"
[ -e "$folder/pip.conf" ] || write "$folder/pip.conf" </opt/env/pip.conf

# uv looks for packages in this folder alone. A link of setuptools' kind tells it of each that the
# image holds; Python itself does not read these, and pip only what is in folders that it may list.
for image in /usr/local/lib/dlimg/packages/*/; do
    [ -d "$image" ] || continue
    for old in "$packages"/*.egg-link; do
        [ -e "$old" ] && read -r target <"$old" || continue
        case $target in /usr/local/lib/dlimg/packages/*) [ -e "$target" ] || rm -f "$old" ;; esac
    done
    own=$(ls "$packages" | sed -n 's/-[^-]*\.dist-info$/,/p' | tr '[:lower:]\n' '[:upper:],')
    for package in "$image"*/; do
        name=${package%/}
        name=${name##*/}
        case ",$own" in
            *",$name,"*) rm -f "$packages/$name.egg-link" ;;
            *) printf '%s\n' "${package%/}" >"$packages/$name.egg-link" ;;
        esac
    done
    # uv takes a package out of this file when it replaces one.
    [ -e "$packages/easy-install.pth" ] || : >"$packages/easy-install.pth"
    link "${image%/}" "$folder/packages"
done

# The last of all: where it is, the environment can be used.
link "$interpreter" "$folder/bin/python"
link python "$folder/bin/python3"
link python "$folder/bin/$python"

# What root makes in the home of another is the other's, who could not change it otherwise.
if [ "$(id -u)" = 0 ]; then
    like=$folder
    [ -z "${is_new:-}" ] || like=$(dirname "$folder")
    [ -O "$like" ] || chown -R --from=0 --no-dereference --reference="$like" "$folder"
fi
