#!/bin/sh
# Runs the command of the name that this is called by: the user's, or else the image's own. Links to
# this are in a folder of every search path, also that of `ssh HOST COMMAND`, sudo and cron.
. /usr/local/lib/dlimg/find-overlay

find_overlay
name=${0##*/}
for folder in "$DLIMG_OVERLAY" {{ cell.user.overlay }} /opt/env; do
    if [ -x "$folder/bin/$name" ]; then
        exec "$folder/bin/$name" "$@"
    fi
done
echo "$name: not found in $DLIMG_OVERLAY/bin and /opt/env/bin" >&2
exit 127
