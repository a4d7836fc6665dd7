"""Downloads of data by another machine's own curl and git, as its network is often faster.

Logins are those of this machine, and are sent over standard input, never in an argument.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import requests

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.pipes import PipeReader
from dlimg.host.process import ProcessResult, open_pipe
from dlimg.host.ssh import SSH_FAILED, SshHost, connection_failure
from dlimg.run.data_fetch import (
    ATTEMPTS,
    FINAL_STATUSES,
    KAGGLE_FILE,
    DownloadProgress,
    check_announced,
    fetch_files,
    not_fetched,
    refused,
)
from dlimg.run.data_source import DataSource, RemoteFile
from dlimg.run.data_volume import StoredData, store_by
from dlimg.run.model import DATA
from dlimg.run.transfer import RemoteFolder

_FOLDER: Final = "dlimg-runs/fetched"  # in the user's home there
_SECONDS: Final = 3600
_NEEDED: Final = {"https": "curl", "hf": "curl", "kaggle": "curl unzip", "git": "git"}
_MISSING: Final = 'for name; do command -v "$name" >/dev/null 2>&1 || echo "$name"; done'
# Arguments: folder, path, attempts, answers that are final, size, sha256. Options of curl are read
# from the input. A line for each event: `size N` every few seconds, and one for the end.
_DOWNLOAD: Final = r"""
folder=$1 file=$2 attempts=$3 final=$4 wanted=$5 sha256=$6
mkdir -p -- "$folder" && cd -- "$folder" || exit 1
case $file in */*) mkdir -p -- "${file%/*}" ;; esac
hidden=${file%"${file##*/}"}.${file##*/}
part=$hidden.part head=$hidden.head error=$hidden.error
options=$(cat)
size() { stat -c %s -- "$part" 2>/dev/null || echo 0; }
(   # a reader that is gone ends the download, too
    trap '' PIPE
    while sleep 5 >/dev/null 2>&1; do echo "size $(size)" 2>/dev/null || kill 0; done
) & ticker=$!
trap 'kill "$ticker" 2>/dev/null; rm -f -- "$error"' EXIT
if command -v flock >/dev/null; then exec 9>"../.lock"; flock 9; fi
[ ! -f "$file" ] || { echo there; exit; }
get() {
    printf '%s\n' "$options" | curl --config - --silent --show-error --location --fail \
        --connect-timeout 30 --speed-limit 1 --speed-time 60 --dump-header "$head.new" \
        --output "$part" --write-out '%{http_code}' "$@" 2>"$error"
}
failures=0
while :; do
    before=$(size)
    etag=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *\("[^"]*"\).*/\1/p' "$head" 2>/dev/null | tail -n 1)
    if [ "$before" -gt 0 ] && [ -n "$etag" ]; then
        status=$(get --continue-at - --header "If-Range: $etag")
    else
        rm -f -- "$part"; before=0
        status=$(get)
    fi
    code=$?
    grep -qi '^etag:' "$head.new" 2>/dev/null && mv -f -- "$head.new" "$head"
    rm -f -- "$head.new"
    [ "$code" != 0 ] || break
    case " $final " in *" $status "*) echo "refused $status"; exit ;; esac
    case $code in 23) echo "unwritable $(tail -n 1 "$error")"; exit ;; esac
    case $code:$status in 33:* | *:416) rm -f -- "$part" ;; esac  # of another version
    if [ "$(size)" -gt "$before" ]; then failures=0; else failures=$((failures + 1)); fi
    [ "$failures" -lt "$attempts" ] || { echo "failed $(tail -n 1 "$error")"; exit; }
    sleep "$failures"
done
[ -e "$part" ] || : >"$part"
count=$(size) digest=
[ -z "$sha256" ] || digest=$(sha256sum <"$part" | cut -c 1-64)
if { [ "$wanted" = -1 ] || [ "$wanted" = "$count" ]; } && [ "$sha256" = "$digest" ]; then
    mv -f -- "$part" "$file"
else
    rm -f -- "$part"
fi
rm -f -- "$head"
echo "came $count $digest"
"""
_UNZIP: Final = 'cd -- "$1" && unzip -q -o "$2" && rm -f -- "$2"'
_CLONE: Final = r"""
rm -rf -- "$1" && mkdir -p -- "$1" && cd -- "$1" && export GIT_TERMINAL_PROMPT=0 LC_ALL=C &&
git init --quiet && git fetch --quiet --depth=1 -- "$2" "$3" &&
git checkout --quiet FETCH_HEAD && rm -rf .git
"""
_PUT: Final = r"""
cd -- "$1" && target=$2 && shift 2 && chmod -R a+rX . && tar -cf - . | "$@" cp - "$target"
"""


def missing_program(source: DataSource, host: SshHost) -> str:
    """Return a program that a machine lacks to fetch this source; empty if it lacks none."""
    completed = host.script(_MISSING, *_NEEDED.get(source.kind, "").split())
    return completed.stdout.partition("\n")[0]


def fetch_on(source: DataSource, name: str, host: SshHost, context: Context) -> RemoteFolder:
    """Fetch the data into a folder of a machine; continue an earlier attempt.

    Raises BadInput, Negative or NetworkFailure, as `fetch` does.
    """
    key = hashlib.sha256(f"{name}\0{source}".encode()).hexdigest()[:12]
    folder = RemoteFolder(host=host, path=f"{_FOLDER}/{key}/files")
    if source.kind == "git":
        context.log(f"{name}: fetching {source.location}, on {host.destination}")
        arguments = (folder.path, source.location, source.revision or "HEAD")
        _check(host.script(_CLONE, *arguments, timeout=_SECONDS), f"git does not fetch {name}")
        return folder

    def download(file: RemoteFile, session: requests.Session, progress: DownloadProgress) -> None:
        _Download(folder=folder, file=file, progress=progress)(session)

    fetch_files(source, name, download, context, on=host.destination)
    if source.kind == "kaggle":
        argv = ["sh", "-c", _UNZIP, "sh", folder.path, KAGGLE_FILE]
        _check(host.run(argv, timeout=_SECONDS), "the answer is no zip archive")
    return folder


def _check(completed: ProcessResult, message: str) -> None:
    if completed.returncode != 0:
        raise Negative(f"{message}: {completed.tail}")


def curl_options(url: str, session: requests.Session) -> str:
    """Return curl's options for an address, with the login of this session or of ~/.netrc."""
    options = {"url": url}
    token = session.headers.get("Authorization")
    if token:
        options["header"] = f"Authorization: {token if isinstance(token, str) else token.decode()}"
    login = session.auth if isinstance(session.auth, tuple) else None
    login = login or (None if token else requests.utils.get_netrc_auth(url))
    if login:
        options["user"] = ":".join(login)
    quoted = {n: text.replace("\\", "\\\\").replace('"', '\\"') for n, text in options.items()}
    return "".join(f'{name} = "{text}"\n' for name, text in quoted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Download:
    """The download of one file into a folder of a machine."""

    folder: RemoteFolder
    file: RemoteFile
    progress: DownloadProgress

    def __call__(self, session: requests.Session) -> None:
        """Fetch the file. Raises Negative or NetworkFailure."""
        name, url = self.folder.host.destination, self.file.url
        before, last = self.progress.done, ""
        for line in self._events(curl_options(url, session)):
            event, _, values = line.partition(" ")
            if event in {"size", "came"}:
                self.progress.add(before + int(values.split()[0]) - self.progress.done)
            last = line
        match last.partition(" ")[::2]:
            case "there", _:
                self.progress.add(max(self.file.size, 0))
            case "came", values:
                size, _, digest = values.partition(" ")
                check_announced(self.file, int(size), digest)
            case "refused", status:
                raise refused(url, status)
            case "unwritable", reason:
                hint = f"make room there: `dlimg doctor --on {name}`"
                raise Negative(f"{name} cannot write the data: {reason}", hint=hint)
            case "failed", reason if reason:
                raise not_fetched(url, reason)
            case _:
                raise not_fetched(url, f"the download on {name} was ended")

    def _events(self, options: str) -> Iterator[str]:
        """Yield the lines of the script. Raises NetworkFailure when the connection breaks."""
        host = self.folder.host
        arguments = [self.folder.path, self.file.path]
        arguments += [str(ATTEMPTS), " ".join(map(str, FINAL_STATUSES))]
        arguments += [str(self.file.size), self.file.sha256]
        argv = host.argv(["sh", "-c", _DOWNLOAD, "sh", *arguments])
        child = open_pipe(argv, env=host.environment, reads=True)
        reader = PipeReader(child)
        rest, errors = b"", b""
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin or contextlib.nullcontext():
                if child.stdin:
                    child.stdin.write(options.encode())
            for out, err in reader:
                *lines, rest = (rest + (out or b"")).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
                errors += err or b""
            code = child.wait()
        finally:
            reader.close()
        text = errors.decode(errors="replace")
        completed = ProcessResult(argv=(), returncode=code, stdout="", stderr=text)
        if code == SSH_FAILED:
            raise connection_failure(host.destination, completed)
        if code:
            yield f"failed {completed.tail}"


def store_on(name: str, source: str, folder: RemoteFolder, engine: Engine) -> StoredData:
    """Copy a folder of the engine's machine into a new volume, and remove the folder."""
    host = folder.host

    def put(container: str) -> None:
        argv = ["sh", "-c", _PUT, "sh", folder.path, f"{container}:{DATA}", *host.docker]
        _check(host.run(argv, timeout=_SECONDS), "the engine does not take the data")

    files = folder.list()
    amount = (len(files), sum(state.size for state in files.values()))
    stored = store_by(put, name, source, amount, engine)
    host.run(["rm", "-rf", "--", folder.path.removesuffix("/files")])
    return stored
