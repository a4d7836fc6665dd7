#!/bin/sh
# The Python of this image, by whatever name it is called: with the user's own packages in front
# where there are some, else as it was built.
if [ -x "${DLIMG_OVERLAY:-}/bin/python" ]; then
    exec "$DLIMG_OVERLAY/bin/python" "$@"
fi
exec "/opt/env/bin/$(basename "$(readlink /usr/local/lib/dlimg/python)")" "$@"
