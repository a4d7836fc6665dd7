"""The start of a container that waits for secrets or for a GPU. Pure.

A shell script as the entry point waits, and then becomes the image's own entry point. So no
process of dlimg has to live as long as the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

# In the container: a tmpfs for secrets, and the folder of locks on GPUs.
MEMORY: Final = "/run/dlimg"
LOCKS: Final = "/run/dlimg-gpus"
QUEUE_LOCK: Final = "queue.lock"
SHARED_LOCK: Final = "shared.lock"

# Locks are opened for reading, as other users may own the files. A queued run takes the lock of one
# GPU; any other run with GPUs takes a shared lock, for which queued runs wait, too. No shell has to
# know file descriptors above 9.
SCRIPT: Final = rf"""set -u
secrets=$1 gpus=$2 queue=$3 run=$4; shift 4
say() {{ echo "dlimg: $*" >&2; }}
if [ "$secrets" = yes ]; then
    tries=0
    until [ -e {MEMORY}/secrets ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 1200 ] || {{ say 'the secrets of this run did not come'; exit 125; }}
        sleep 0.05
    done
    . {MEMORY}/secrets
fi
if [ "$queue" = yes ]; then
    command -v flock >/dev/null || {{ say 'this image has no flock'; exit 125; }}
    exec 8<{LOCKS}/{QUEUE_LOCK} 7<{LOCKS}/{SHARED_LOCK}
    flock -n 8 || {{ say "$run waits for the runs before it"; flock 8; }}
    flock -n 7 || {{ say "$run waits for the runs that share all GPUs"; flock 7; }}
    exec 7<&-
    chosen= logged=
    while [ -z "$chosen" ]; do
        for gpu in $gpus; do
            exec 9<{LOCKS}/gpu-${{gpu%:*}}.lock
            if flock -n 9; then chosen=$gpu; break; fi
        done
        [ -n "$chosen" ] && break
        [ -n "$logged" ] || {{ say "$run waits for a free GPU"; logged=yes; }}
        sleep 0.5
    done
    exec 8<&-
    export CUDA_VISIBLE_DEVICES=${{chosen#*:}}
    echo "export CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES" >{MEMORY}/gpu
    echo "${{chosen%:*}}" 2>/dev/null >{LOCKS}/run-$(cat /etc/hostname)
    say "$run has GPU ${{chosen%:*}}"
elif [ -n "$gpus" ] && command -v flock >/dev/null; then
    exec 9<{LOCKS}/{SHARED_LOCK}
    flock -s 9
fi
exec "$@"
"""
# Runs a command in a running container, with the variables that the script has set.
EXEC: Final = (
    f'for file in {MEMORY}/secrets {MEMORY}/gpu; do [ ! -r "$file" ] || . "$file"; done; exec "$@"'
)
# Takes secrets from standard input; the last step makes them complete at once.
RECEIVE: Final = f"umask 077; cat >{MEMORY}/new && mv {MEMORY}/new {MEMORY}/secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConditions:
    """The conditions of a start; `gpus` are names of locks with GPU numbers in the container."""

    run: str
    secrets: bool = False
    gpus: tuple[tuple[str, int], ...] = ()
    queue: bool = False

    def __bool__(self) -> bool:
        return self.secrets or bool(self.gpus)


def start_entrypoint(conditions: StartConditions, entrypoint: Sequence[str]) -> tuple[str, ...]:
    """Return the entry point that waits and then becomes the image's; empty without conditions."""
    if not conditions:
        return ()
    gpus = " ".join(f"{lock}:{number}" for lock, number in conditions.gpus)
    arguments = (_yes(conditions.secrets), gpus, _yes(conditions.queue), conditions.run)
    return ("/bin/sh", "-c", SCRIPT, "dlimg-start", *arguments, *entrypoint)


def _yes(value: object) -> Literal["yes", "no"]:
    return "yes" if value else "no"


def exec_command(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command for `docker exec` with the variables of the run's own command."""
    return ("/bin/sh", "-c", EXEC, "dlimg-exec", *command)
