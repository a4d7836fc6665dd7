#!/bin/sh
# Stands before uv, which refuses versions as pip does, and explains it. `dlimg-overlay` puts a link
# to this in the place of the program that was installed; the entry point, before one elsewhere.
this=/usr/local/lib/dlimg/uv
real=${0%/*}/../lib/dlimg/uv
if [ ! -x "$real" ]; then
    real=
    IFS=:
    for folder in $PATH "${HOME:-}/.local/bin"; do
        uv=$folder/uv
        [ ! "$uv" -ef "$this" ] || uv=$folder/../lib/dlimg/uv
        if [ -x "$uv" ]; then
            real=$uv
            break
        fi
    done
    unset IFS
fi
if [ -z "$real" ]; then
    echo "uv: not found; \`pip install uv\` installs it" >&2
    exit 127
fi

explain() {
    DLIMG_UV=$real /usr/local/lib/dlimg/explain_refusal.py "$@"
}

# Sets `command` to the first words that are no options: `pip install`, `add`.
read_command() {
    command='' is_value=
    for word; do
        if [ -n "$is_value" ]; then
            is_value=
            continue
        fi
        case $word in
            --directory | --project | --config-file | --cache-dir | --color | --allow-insecure-host)
                is_value=yes
                ;;
            -*) ;;
            pip)
                [ -z "$command" ] || break
                command='pip '
                ;;
            *)
                command=$command$word
                break
                ;;
        esac
    done
}

# keep FILE NUMBER: makes a file of what can be read only once, and opens it under this number.
keep() {
    copy=$(mktemp 2>/dev/null) || return
    cat "$1" >"$copy" || exit
    eval "exec $2<\"\$copy\""
    rm -f "$copy"
}

# The system's Python is Debian's, which takes no packages; it is not the image's.
unset UV_SYSTEM_PYTHON
read_command "$@"
case $command in
    'pip install' | 'pip sync' | 'pip uninstall' | 'pip list' | 'pip freeze' | 'pip show')
        number=$#
        for word; do
            [ "$word" = --system ] || set -- "$@" "$word"
        done
        shift "$number"
        ;;
esac
# The explanation reads requirements again, also those from standard input or a pipe.
case $command in
    'pip install' | 'pip compile' | 'pip sync')
        number=$#
        free=9
        for word; do
            file=${word#-[a-z]}
            file=${file#--*=}
            case $file in
                - | /dev/stdin | /dev/fd/0 | /proc/self/fd/0) [ -f /dev/stdin ] || keep - 0 ;;
                *)
                    if [ -p "$file" ] && [ "$free" -gt 2 ] && keep "$file" "$free"; then
                        word=${word%"$file"}/dev/fd/$free
                        free=$((free - 1))
                    fi
                    ;;
            esac
            set -- "$@" "$word"
        done
        shift "$number"
        ;;
esac
case $command in
    'pip install' | 'pip compile')
        "$real" "$@"
        code=$?
        [ "$code" = 0 ] || explain after uv "$@"
        exit "$code"
        ;;
    'pip sync')
        # It reads no constraints.
        explain before uv "$@" || exit
        ;;
    'pip uninstall') ;;
    add | sync | run)
        explain project uv "$@"
        exec "$real" "$@"
        ;;
    *) exec "$real" "$@" ;;
esac
"$real" "$@"
code=$?
# uv has removed its notes of the image's packages, which stay.
[ ! -w "${DLIMG_OVERLAY:-/}/pyvenv.cfg" ] || /usr/local/bin/dlimg-overlay "$DLIMG_OVERLAY"
exit "$code"
