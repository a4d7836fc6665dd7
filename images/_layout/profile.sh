# Login shells reset the search path, and those of sshd lack the image's variables.
while IFS='=' read -r dlimg_name dlimg_value; do
    case $dlimg_name in
        '' | '#'* | PATH) ;;
        *) eval "export $dlimg_name=\"\${$dlimg_name-\$dlimg_value}\"" ;;
    esac
done </etc/dlimg/environment
unset dlimg_name dlimg_value
# In sessions of `dlimg-ssh` it is the container's own.
export PATH="${DLIMG_PATH:-$DLIMG_OVERLAY/bin:/opt/env/bin:${CUDA_HOME:+$CUDA_HOME/bin:}$PATH}"

. /usr/local/lib/dlimg/limit-threads
limit_threads
unset -f limit_threads count_cpus limit_by_quota

# The settings in a home often put ~/.local/bin first, where uv's installer puts uv.
case $- in
    *i*) if [ -x "${HOME:-}/.local/bin/uv" ]; then uv() { /usr/local/lib/dlimg/uv "$@"; }; fi ;;
esac
