#!/bin/sh
# Sets a home, a name and an environment to install into, then executes the command. Failures here
# must not stop the command.
set -u
. /usr/local/lib/dlimg/find-overlay
. /usr/local/lib/dlimg/limit-threads

user_id=$(id -u)
USER=$(id -un 2>/dev/null) || USER=$user_id
LOGNAME=$USER
export USER LOGNAME

# Links what is mounted below the image's home, such as a model cache, into another home.
link_mounts() {
    while read -r _ mount _; do
        case $mount in
            "$image_home"/env | "$image_home"/env/*) continue ;;
            "$image_home"/*) link=$HOME/${mount#"$image_home"/} ;;
            *) continue ;;
        esac
        [ -e "$link" ] || { mkdir -p "${link%/*}" && ln -s "$mount" "$link"; } 2>/dev/null
    done </proc/self/mounts
}

# A user without a home, or with one on a read-only disk, gets the image's or one under /tmp.
image_home={{ cell.user.home }}
if [ "${HOME:-/}" = / ] || [ ! -w "$HOME/." ] || [ "$HOME" = "${HOME#/}" ]; then
    export HOME="$image_home"
    if [ ! -w "$HOME" ]; then
        HOME=/tmp/home-$user_id
        mkdir -p -m 700 "$HOME" 2>/dev/null
        link_mounts
    fi
fi

limit_threads

for name in DLIMG_QUIET DLIMG_STRICT; do
    eval "value=\${$name:-}"
    case $value in [yY] | [yY][eE][sS] | [tT][rR][uU][eE] | [oO][nN]) export "$name=1" ;; esac
done

# Names on stderr what will not work here. Only with DLIMG_STRICT=1 that ends the start. It is a
# module, because Python keeps the byte code of modules alone. `dlimg-info` names the same itself.
diagnosis='import sys; sys.path.append("/usr/local/lib/dlimg"); import diagnosis; diagnosis.main()'
case ${1-} in info | dlimg-info) DLIMG_QUIET=1 ;; esac
if [ "${DLIMG_QUIET:-}" != 1 ] || [ "${DLIMG_STRICT:-}" = 1 ]; then
    /usr/local/lib/dlimg/python -BISc "$diagnosis" || [ $? -ne 78 ] || exit 78
fi

given=${DLIMG_OVERLAY:-}
find_overlay
if [ "$given" != {{ cell.user.overlay }} ] && [ -n "$given" ] && [ "${DLIMG_QUIET:-}" != 1 ]; then
    place=$DLIMG_OVERLAY
    [ -w "$place/pyvenv.cfg" ] || place=nowhere
    if [ ! "$given" -ef "$place" ]; then
        echo "dlimg: DLIMG_OVERLAY=$given cannot be used, and packages go to $place" >&2
        echo "  hint: it has to be an absolute path that user $user_id can write to, empty or made by dlimg" >&2
    fi
fi
case $PATH in
    "$DLIMG_OVERLAY/bin:"*) ;;
    *) PATH=$DLIMG_OVERLAY/bin:$PATH ;;
esac

# What uv refuses is explained also where a host, or uv's installer, has brought uv: this link comes
# first, also in shells whose settings add that folder where it is missing.
if [ -d "$HOME/.local/bin" ]; then
    case ":$PATH:" in
        *":$HOME/.local/bin:"*) ;;
        *) PATH=$PATH:$HOME/.local/bin ;;
    esac
fi
for uv in /usr/local/bin/uv /usr/bin/uv "$HOME/.local/bin/uv"; do
    if [ -x "$uv" ] && [ ! -e "$DLIMG_OVERLAY/bin/uv" ]; then
        ln -s /usr/local/lib/dlimg/uv "$DLIMG_OVERLAY/bin/uv" 2>/dev/null
    fi
done

case ${1-} in
    jupyter | ssh | both | check | info) exec /usr/local/lib/dlimg/mode "$@" ;;
esac
exec "$@"
