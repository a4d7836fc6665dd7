#!/bin/sh
# dlimg-jupyter [OPTION...]: what `jupyter` does behind the tag, with options of `jupyter lab`.
exec /usr/local/bin/dlimg-entrypoint /usr/local/lib/dlimg/serve jupyter "$@"
