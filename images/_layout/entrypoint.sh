#!/bin/sh
# Gives any user a home, a name and an environment to install into, then becomes the command.
# Nothing here may stop the command: what cannot be had is done without.
set -u

interpreter=/usr/local/lib/dlimg/python
user_id=$(id -u)
USER=$(id -un 2>/dev/null) || USER=$user_id
LOGNAME=$USER
export USER LOGNAME

# A user without a home, or with one on a read-only disk, gets one under /tmp.
if [ "${HOME:-/}" = / ] || [ ! -w "$HOME" ]; then
    HOME=/tmp/home-$user_id
    mkdir -p -m 700 "$HOME" 2>/dev/null
    export HOME
fi

usable() {
    [ -w "$1/pyvenv.cfg" ] && [ "$1/bin/python" -ef "$interpreter" ]
}

for folder in "$DLIMG_OVERLAY" "/tmp/home-$user_id/env"; do
    if usable "$folder" || dlimg-overlay "$folder" 2>/dev/null; then
        DLIMG_OVERLAY=$folder
        export DLIMG_OVERLAY
        case $PATH in
            "$folder/bin:"*) ;;
            *) PATH=$folder/bin:$PATH ;;
        esac
        break
    fi
done

# Only a CUDA image sets NVIDIA_VISIBLE_DEVICES; where a device list was emptied, none is wanted.
gpu_is_wanted() {
    case ${NVIDIA_VISIBLE_DEVICES:-none} in none | void) return 1 ;; esac
    case ${CUDA_VISIBLE_DEVICES-all} in '' | -1) return 1 ;; esac
    [ "${DLIMG_QUIET:-}" != 1 ]
}

gpu_is_visible() {
    [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ]
}

# What a framework must be told where there is no GPU, as NAME=VALUE; a user's own value stays.
if [ -n "${DLIMG_WITHOUT_GPU:-}" ] && ! gpu_is_visible; then
    [ -n "$(printenv "${DLIMG_WITHOUT_GPU%%=*}")" ] || export "${DLIMG_WITHOUT_GPU?}"
fi

if gpu_is_wanted && ! gpu_is_visible; then
    echo 'dlimg: this is a CUDA image and no NVIDIA GPU is visible in the container: start it with' \
        '`docker run --gpus all ...`, or with `-e DLIMG_QUIET=1` if none is needed.' >&2
fi

exec "$@"
