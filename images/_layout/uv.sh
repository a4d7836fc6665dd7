#!/bin/sh
# Stands before uv, which refuses versions as pip does, and explains it. `dlimg-overlay` puts a link
# to this in the place of the program that was installed; the entry point, before one elsewhere.
this=/usr/local/lib/dlimg/uv
real=${0%/*}/../lib/dlimg/uv
if [ ! -x "$real" ]; then
    real=
    IFS=:
    for folder in $PATH; do
        if [ -x "$folder/uv" ] && [ ! "$folder/uv" -ef "$this" ]; then
            real=$folder/uv
            break
        fi
    done
    unset IFS
fi
if [ -z "$real" ]; then
    echo "uv: not found; \`pip install uv\` installs it" >&2
    exit 127
fi
case " $* " in
    *' pip install '* | *' pip sync '*) /usr/local/lib/dlimg/explain_refusal.py uv "$@" ;;
esac
exec "$real" "$@"
