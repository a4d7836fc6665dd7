"""The script that prepares a bare Debian or Ubuntu machine for a run. Pure.

Each step checks first and does only what is missing, so that the script goes on after a reboot and
changes nothing when it is run again.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from dlimg.run.machine_packages import (
    DOCKER_PACKAGES,
    DPKG_ARCHITECTURES,
    LAST_CLOSED_BRANCH,
    OLDEST_DOCKER,
    SUPPORTED,
    SYSTEMS,
    TURING,
    PackageSources,
    contrib_lines,
    docker_lines,
    driver_lines,
    driver_package,
    install_lines,
    toolkit_lines,
)

# `$name`, `$image`, `$gpu`, `$floor`, `$branch`, `$owner`, `$folders`, `$secrets`, `$is_server`,
# `$tunnel` and the function `start_container` come before it.
_STEPS: Final = r"""
state=/var/lib/dlimg
container=dlimg-$name
export DEBIAN_FRONTEND=noninteractive

say() { echo "dlimg: $*"; }

# Shows lines at each login and on the console.
tell() {
    printf '%s\n' "$@" >$state/message.new
    if cmp -s $state/message.new $state/message; then
        rm $state/message.new
    else
        mv $state/message.new $state/message
    fi
    sed 's/^/dlimg: /' $state/message
}

fail() {
    tell "the set-up stopped: $1" "what to do: $2" "then: sudo systemctl restart dlimg-vm"
    exit 1
}

# Prints the device number of the first NVIDIA GPU.
gpu_device() {
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat "$device/vendor" 2>/dev/null)" = 0x10de ] || continue
        case $(cat "$device/class") in 0x03*) cat "$device/device"; return ;; esac
    done
    return 1
}

running_driver() {
    versions=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null) || return 0
    printf '%s\n' "$versions" | head -n 1
}

# NVIDIA's open kernel modules are for Turing and newer, and the only ones for Blackwell.
install_driver() {
    package=@OPEN@
    [ $(($1)) -ge $((@TURING@)) ] || { package=@CLOSED@; branch=@LAST_CLOSED@; }
    system=$ID$(echo "$VERSION_ID" | tr -d .)
    case $system in
        @SYSTEMS@) ;;
        *) fail "NVIDIA has no packages for $PRETTY_NAME" "take one of: @SUPPORTED@" ;;
    esac
    case $(dpkg --print-architecture) in
@ARCHITECTURES@
        *) fail "NVIDIA has no packages for $(uname -m)" "take one of: @SUPPORTED@" ;;
    esac
    say "installing NVIDIA's driver, branch $branch"
    if [ "$ID" = debian ]; then
        @CONTRIB@
    fi
    @DRIVER@
}

reboot_once() {
    [ ! -e $state/rebooted ] ||
        fail "NVIDIA's driver does not start, even after a reboot" "see: sudo dmesg | grep -i nvrm"
    touch $state/rebooted
    tell "$1; the machine reboots once and goes on by itself"
    systemctl reboot
    exit 0
}

check_gpu() {
    device=$(gpu_device) ||
        fail "this machine has no NVIDIA GPU" "take one with a GPU, or print the run with --cpu"
    command -v nvidia-smi >/dev/null || { install_driver "$device"; modprobe nvidia || true; }
    version=$(running_driver)
    [ -n "$version" ] || reboot_once "NVIDIA's driver is installed and starts with the next boot"
    rm -f $state/rebooted
    if [ -n "$floor" ] && dpkg --compare-versions "$version" lt "$floor"; then
        fail "driver $version is older than $floor, which $image needs" \
            "take an image for it: dlimg pick --driver $version"
    fi
    say "driver $version"
}

install_docker() {
    say "installing Docker"
    apt-get -o DPkg::Lock::Timeout=600 update
    version=$(apt-cache policy docker.io | sed -n 's/^ *Candidate: //p')
    if [ -n "$version" ] && dpkg --compare-versions "$version" ge @OLDEST_DOCKER@; then
        case $ID in
@DOCKER_PACKAGES@
        esac
        @DOCKER_OF_DISTRIBUTION@
    else
        @DOCKER_OF_DOCKER@
    fi
}

wait_for_docker() {
    tries=0
    until docker version >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || fail "Docker does not answer" "see: sudo systemctl status docker"
        sleep 1
    done
}

install_toolkit() {
    say "installing NVIDIA's container toolkit"
    @TOOLKIT@
}

make_folders() {
    for folder in $folders; do
        [ -d "$folder" ] || install -d -o "${owner%:*}" -g "${owner#*:}" "$folder"
    done
}

# Prints the secrets that are not there yet.
missing_secrets() {
    for secret in $secrets; do
        [ -s "/etc/dlimg/secrets/$secret" ] || printf '%s ' "$secret"
    done
}

mkdir -p $state
[ -d /etc/dlimg/secrets ] || install -d -m 700 /etc/dlimg/secrets
[ -e $state/message ] || : >$state/message
. /etc/os-release
case $ID in
    debian | ubuntu) ;;
    *) fail "this is $PRETTY_NAME" "take an image of Debian or Ubuntu" ;;
esac
[ "$gpu" != yes ] || check_gpu
command -v docker >/dev/null || install_docker
wait_for_docker
if [ "$gpu" = yes ]; then
    command -v nvidia-ctk >/dev/null || install_toolkit
    docker info --format '{{json .Runtimes}}' | grep -q '"nvidia"' || {
        nvidia-ctk runtime configure --runtime=docker
        systemctl restart docker
        wait_for_docker
    }
fi
docker image inspect "$image" >/dev/null 2>&1 || {
    say "pulling $image"
    docker pull --quiet "$image" ||
        fail "$image cannot be pulled" "see: sudo docker pull $image "
}
make_folders
missing=$(missing_secrets)
if [ -n "$missing" ]; then
    secret=${missing%% *}
    put="sudo install -D -m 444 /dev/stdin /etc/dlimg/secrets/$secret"
    tell "this run waits for secrets: $missing" "On your machine, for each of them:" \
        "  printf %s \"\$$secret\" | ssh USER@VM '$put'" \
        "then: ssh USER@VM sudo systemctl restart dlimg-vm"
    exit 0
fi
if [ "$is_server" != yes ] && [ -z "$(ls -A "/srv/dlimg/$name/code")" ]; then
    tell "this run waits for its code; on your machine, in its folder:" \
        "  rsync -a --rsync-path='sudo rsync' --chown=$owner ./ USER@VM:/srv/dlimg/$name/code/" \
        "then: ssh USER@VM sudo systemctl restart dlimg-vm"
    exit 0
fi
status=$(docker container inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || status=
if [ -z "$status" ]; then
    start_container
elif [ "$is_server" = yes ] && [ "$status" != running ]; then
    docker start "$container" >/dev/null
fi
if [ "$is_server" = yes ]; then
    tell "$name is up. On your machine:" "  $tunnel" \
        "Its address with the token: ssh USER@VM sudo docker logs $container"
else
    tell "$name runs. On your machine:" "  ssh USER@VM sudo docker logs --follow $container" \
        "  rsync -a USER@VM:/srv/dlimg/$name/output/ output/"
fi
"""


def steps() -> str:
    """Return the steps, with the placeholders for packages and their sources filled."""
    text = _STEPS
    for placeholder, value in _placeholders().items():
        text = text.replace(placeholder, value)
    return text


def _placeholders() -> Mapping[str, str]:
    sources = PackageSources()
    driver = driver_lines(
        sources, folder="$system", architecture="$arch", branch="$branch", package="$package"
    )
    return {
        "@OPEN@": driver_package(is_open=True),
        "@CLOSED@": driver_package(is_open=False),
        "@TURING@": hex(TURING),
        "@LAST_CLOSED@": str(LAST_CLOSED_BRANCH),
        "@SYSTEMS@": " | ".join(system.folder for system in SYSTEMS.values()),
        "@SUPPORTED@": SUPPORTED,
        "@ARCHITECTURES@": _cases("arch", DPKG_ARCHITECTURES, indent=8),
        "@CONTRIB@": _indented(contrib_lines("$VERSION_CODENAME"), indent=8),
        "@DRIVER@": _indented(driver, indent=4),
        "@OLDEST_DOCKER@": OLDEST_DOCKER,
        "@DOCKER_PACKAGES@": _cases("packages", DOCKER_PACKAGES, indent=12),
        "@DOCKER_OF_DISTRIBUTION@": _indented(install_lines("$packages"), indent=8),
        "@DOCKER_OF_DOCKER@": _indented(docker_lines("$ID", "$VERSION_CODENAME"), indent=8),
        "@TOOLKIT@": _indented(toolkit_lines(sources), indent=4),
    }


def _indented(lines: Iterable[str], *, indent: int) -> str:
    return f"\n{' ' * indent}".join(lines)


def _cases(variable: str, values: Mapping[str, str], *, indent: int) -> str:
    """Return branches of a `case` that set a variable."""
    lines = (f"{' ' * indent}{name}) {variable}='{value}' ;;" for name, value in values.items())
    return "\n".join(lines)
