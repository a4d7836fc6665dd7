#!/bin/sh
# The command by whose name this is called: as the user has installed it, else the image's own. Links
# to this are where every search path leads, also that of `ssh HOST COMMAND`, sudo and cron.
. /usr/local/lib/dlimg/find-overlay

find_overlay
name=${0##*/}
for folder in "$DLIMG_OVERLAY" /home/user/env /opt/env; do
    if [ -x "$folder/bin/$name" ]; then
        exec "$folder/bin/$name" "$@"
    fi
done
echo "$name: it is neither in $DLIMG_OVERLAY/bin nor in /opt/env/bin" >&2
exit 127
