#!/bin/sh
# The Python of this image, under all its names: the user's environment, or else the image's.
. /usr/local/lib/dlimg/find-overlay

find_overlay
if [ -x "$DLIMG_OVERLAY/bin/python" ]; then
    exec "$DLIMG_OVERLAY/bin/python" "$@"
fi
python=$(/usr/bin/readlink /usr/local/lib/dlimg/python)
exec "/opt/env/bin/${python##*/}" "$@"
