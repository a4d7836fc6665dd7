#!/bin/sh
# dlimg-overlay FOLDER [NAME]: makes FOLDER an environment to install into, or updates it for this
# image. Its packages come before those of images built on this one, and those before this image's.
# One with a name stands on the image alone. Other folders are refused. Files are replaced
# atomically, because several Pythons may start at once.
set -eu
case ${1:-} in '' | -*) exec /usr/local/lib/dlimg/named-overlays "$@" ;; esac
PATH=/usr/bin:/bin

folder=$1
name=${2:-$(sed -n 's/^name = //p' "$folder/pyvenv.cfg" 2>/dev/null || true)}
interpreter=$(readlink -f /usr/local/lib/dlimg/python)
python=$(basename "$interpreter")
packages=$folder/lib/$python/site-packages
mark=.dlimg-$$
trap 'rm -f "$folder/$mark" "$folder/bin/$mark" "$packages/$mark"' EXIT

# An empty volume may have lost+found. List the folder before reading pyvenv.cfg, which another
# process writes first.
is_ours() {
    entries=$(ls -A "$folder" 2>/dev/null | grep -v -e '^\.dlimg-' -e '^lost+found$' || true)
    [ -z "$entries" ] || grep -qs '^made-by = dlimg$' "$folder/pyvenv.cfg"
}

# write FILE: writes stdin to the file, unless it has that content already.
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
{
    printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\nmade-by = dlimg\n' \
        "${interpreter%/*}" "${python#python}"
    [ -z "$name" ] || echo "name = $name"
} | write "$folder/pyvenv.cfg"
mkdir -p "$folder/bin" "$packages"

# What this user has installed is not below an environment with a name, what came with an image is.
is_below() {
    [ ! "$1" -ef "$folder" ] || return 1
    [ -z "$name" ] || [ "$1" = /opt/env ] || [ -e "$1/.dlimg-tagged" ] || [ ! -w "$1/pyvenv.cfg" ]
}

for below in {{ cell.user.overlay }} /opt/env; do
    is_below "$below" && echo "import site; site.addsitedir('$below/lib/$python/site-packages')"
done | write "$packages/dlimg.pth"
[ -e "$folder/pip.conf" ] || write "$folder/pip.conf" </opt/env/pip.conf

# uv looks for packages in this folder alone. An egg-link for each package of the image makes uv see
# it; Python does not read these, and pip only those in folders that it can list.
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
    # uv edits this file when it replaces a package.
    [ -e "$packages/easy-install.pth" ] || : >"$packages/easy-install.pth"
    link "${image%/}" "$folder/packages"
    # The image under which the packages here were installed: the entry point compares it.
    if [ ! -e "$packages/dlimg.image" ] || [ -z "$own" ]; then
        basename "$image" | write "$packages/dlimg.image"
    fi
done

# The link explains what uv refuses; uv itself lies beside.
wrapper=/usr/local/lib/dlimg/uv
if [ -f "$folder/bin/uv" ] && [ ! -L "$folder/bin/uv" ]; then
    mkdir -p "$folder/lib/dlimg"
    mv -f "$folder/bin/uv" "$folder/lib/dlimg/uv"
    link "$wrapper" "$folder/bin/uv"
elif [ ! -e "$folder/bin/uv" ]; then
    rm -rf "$folder/lib/dlimg"
    # As the entry point does for one that lies elsewhere.
    for uv in /usr/local/bin/uv /usr/bin/uv "${HOME:-}/.local/bin/uv"; do
        [ ! -x "$uv" ] || link "$wrapper" "$folder/bin/uv"
    done
fi

# Last: the environment is usable once these links exist.
link "$interpreter" "$folder/bin/python"
link python "$folder/bin/python3"
link python "$folder/bin/$python"

# Files that root makes in another user's home belong to that user, who could not change them else.
if [ "$(id -u)" = 0 ]; then
    like=$folder
    [ -z "${is_new:-}" ] || like=$(dirname "$folder")
    [ -O "$like" ] || chown -R --from=0 --no-dereference --reference="$like" "$folder"
fi
