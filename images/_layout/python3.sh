#!/bin/sh
# The Python of this image, by whatever name it is called: with the user's own packages in front
# where there are some, else as it was built.
overlay=${DLIMG_OVERLAY:-/home/user/env}
if [ -x "$overlay/bin/python" ]; then
    exec "$overlay/bin/python" "$@"
fi
exec "/opt/env/bin/$(basename "$(readlink /usr/local/lib/dlimg/python)")" "$@"
