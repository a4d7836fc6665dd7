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

# A user without a home, or with one on a read-only disk, gets one under /tmp.
if [ "${HOME:-/}" = / ] || [ ! -w "$HOME" ]; then
    HOME=/tmp/home-$user_id
    mkdir -p -m 700 "$HOME" 2>/dev/null
    export HOME
fi

limit_threads
find_overlay
case $PATH in
    "$DLIMG_OVERLAY/bin:"*) ;;
    *) PATH=$DLIMG_OVERLAY/bin:$PATH ;;
esac

# Only a CUDA image sets NVIDIA_VISIBLE_DEVICES; an empty list of devices means no GPU.
gpu_is_wanted() {
    case ${NVIDIA_VISIBLE_DEVICES:-none} in none | void) return 1 ;; esac
    case ${CUDA_VISIBLE_DEVICES-all} in '' | -1) return 1 ;; esac
    [ "${DLIMG_QUIET:-}" != 1 ]
}

gpu_is_visible() {
    [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ]
}

if gpu_is_wanted && ! gpu_is_visible; then
    echo 'dlimg: this is a CUDA image and no NVIDIA GPU is visible in the container: start it with' \
        '`docker run --gpus all ...`, or with `-e DLIMG_QUIET=1` if none is needed.' >&2
fi

exec "$@"
