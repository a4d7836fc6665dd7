#!/bin/sh
# dlimg-ssh [OPTION...]: what `ssh` does behind the tag, with options of sshd.
exec /usr/local/bin/dlimg-entrypoint /usr/local/lib/dlimg/serve ssh "$@"
