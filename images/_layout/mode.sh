#!/bin/sh
# The entry point's modes: a word behind the tag, or the same word as a command of the image.
mode=$1
shift
case $mode in
    jupyter)
        # With a subcommand, or an option of its own, it is Jupyter's command.
        case ${1:-} in
            [!-]* | -h | --help | --version | --paths | --config-dir | --data-dir | --runtime-dir)
                exec jupyter "$@"
                ;;
        esac
        ;;
    ssh)
        # With a host to connect to, it is the client.
        [ $# = 0 ] || exec ssh "$@"
        ;;
    check | info)
        exec "dlimg-$mode" "$@"
        ;;
esac
if [ ! -e /usr/local/lib/dlimg/serve ]; then
    echo "dlimg: this flavour has no mode \`$mode\`: take the same tag with \`-workspace\` at its end" >&2
    exit 2
fi
exec /usr/local/lib/dlimg/serve "$mode" "$@"
