# Sourced by the entry point and login shells. `limit_threads` sets how many threads frameworks
# start, where a quota or a set of CPUs leaves fewer than the machine has; variables that are set
# stay. dlimg_start.py does the same for every Python. It starts no process.

limit_threads() {
    local root="${1-}" count=0 usable=0 machine=0 name value controllers path
    [ -r "$root/sys/devices/system/cpu/online" ] && [ -r "$root/proc/self/status" ] || return 0
    read -r value <"$root/sys/devices/system/cpu/online" || :
    count_cpus "$value" && machine=$count
    while read -r name value; do
        if [ "$name" = Cpus_allowed_list: ]; then
            count_cpus "$value" && usable=$count
            break
        fi
    done <"$root/proc/self/status"
    if [ -r "$root/proc/self/cgroup" ]; then
        while IFS=: read -r name controllers path; do
            case ,$controllers, in
                ,,) limit_by_quota "$root/sys/fs/cgroup" "$path" ;;
                *,cpu,*)
                    limit_by_quota "$root/sys/fs/cgroup/$controllers" "$path"
                    limit_by_quota "$root/sys/fs/cgroup/cpu" "$path"
                    ;;
            esac
        done <"$root/proc/self/cgroup"
    fi
    limit_by_quota "$root/sys/fs/cgroup" /
    limit_by_quota "$root/sys/fs/cgroup/cpu" /
    [ "$usable" -gt 0 ] && [ "$usable" -lt "$machine" ] || return 0
    [ -n "${OMP_NUM_THREADS+set}" ] || export DLIMG_THREADS="$usable"
    for name in OMP_NUM_THREADS TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS PJRT_NPROC NPROC \
        TORCHINDUCTOR_COMPILE_THREADS NUMBA_NUM_THREADS RAYON_NUM_THREADS PYTHON_CPU_COUNT; do
        eval "[ -n \"\${$name+set}\" ] || export $name=$usable"
    done
}

# count_cpus LIST: sets `count` for a list such as 0-3,8.
count_cpus() {
    local range list="$1,"
    case $1 in '' | *[!0-9,-]*) return 1 ;; esac
    count=0
    while [ -n "$list" ]; do
        range=${list%%,*}
        list=${list#*,}
        count=$((count + ${range#*-} - ${range%-*} + 1))
    done
}

# limit_by_quota MOUNT PATH: lowers `usable` to the quotas of a cgroup and of those above it, in
# whole CPUs: one and a half is 2.
limit_by_quota() {
    local path="${2%/}" quota period number
    while :; do
        quota='' period=''
        if [ -r "$1$path/cpu.max" ]; then
            read -r quota period <"$1$path/cpu.max" || :
        elif [ -r "$1$path/cpu.cfs_quota_us" ] && [ -r "$1$path/cpu.cfs_period_us" ]; then
            read -r quota <"$1$path/cpu.cfs_quota_us" || :
            read -r period <"$1$path/cpu.cfs_period_us" || :
        fi
        case $quota,$period in
            ,* | *, | *[!0-9,]* | *,0) ;;
            *)
                number=$(((quota + period - 1) / period))
                [ "$number" -gt 0 ] || number=1
                [ "$number" -ge "$usable" ] || usable=$number
                ;;
        esac
        [ -n "$path" ] || break
        path=${path%/*}
    done
}
