#!/bin/sh
# The Python of this image, by whatever name it is called: with the user's own packages in front
# where there can be some, else as it was built.
. /usr/local/lib/dlimg/find-overlay

find_overlay
if [ -x "$DLIMG_OVERLAY/bin/python" ]; then
    exec "$DLIMG_OVERLAY/bin/python" "$@"
fi
python=$(/usr/bin/readlink /usr/local/lib/dlimg/python)
exec "/opt/env/bin/${python##*/}" "$@"
