#!/bin/sh
# dlimg-overlay FOLDER: makes FOLDER an environment to install into. What is installed there comes
# first, then what an image built on this one has installed, then what this image holds. Says no to
# a folder that is something else.
set -eu

folder=$1
interpreter=$(readlink -f /usr/local/lib/dlimg/python)
python=$(basename "$interpreter")
packages=$folder/lib/$python/site-packages

if [ -e "$folder" ] && ! grep -qs '^made-by = dlimg$' "$folder/pyvenv.cfg"; then
    echo "dlimg-overlay: $folder exists and was not made by dlimg-overlay" >&2
    exit 1
fi
mkdir -p "$folder/bin" "$packages"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\nmade-by = dlimg\n' \
    "${interpreter%/*}" "${python#python}" >"$folder/pyvenv.cfg"
ln -sf "$interpreter" "$folder/bin/python"
ln -sf python "$folder/bin/python3"
ln -sf python "$folder/bin/$python"
for below in /home/user/env /opt/env; do
    [ "$below" = "$folder" ] || echo "import site; site.addsitedir('$below/lib/$python/site-packages')"
done >"$packages/dlimg.pth"
