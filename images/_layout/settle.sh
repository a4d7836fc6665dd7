#!/bin/sh
# settle BEGAN EPOCH: removes files that differ between builds, and sets the time of files changed
# since BEGAN (seconds) to EPOCH, so that the same input makes the same layer.
set -eu

apt-get clean
rm -rf /root/.cache /tmp/* /var/lib/apt/lists/* /var/cache/ldconfig/aux-cache \
    /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
find /var/log -type f -delete
# Mounts of the build are not in the layer.
find / -xdev \( -path '/run/*' -o -path /dev -o -path /proc -o -path /sys \) -prune \
    -o ! -path /etc/hosts ! -path /etc/resolv.conf -newermt "@$(($1 - 1))" \
    -exec touch --no-dereference --date="@$2" {} +
