"""A run as resources of Kubernetes, and as a notebook of Kubeflow. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from dlimg.run.model import CODE, OUTPUT, Mount
from dlimg.run.modes import JUPYTER_PORT
from dlimg.run_formats.model import PrintedRun, comment, quoted, refuse
from dlimg.run_formats.yaml_text import yaml_text

_COMPONENT: Final = "app.kubernetes.io/component"
_CLAIM: Final = "files"
_CLAIM_SIZE: Final = "20Gi"
_GPU: Final = "nvidia.com/gpu"
_SHM: Final = "shm"


def kubernetes_text(run: PrintedRun) -> str:
    """Return a claim for files, a pod to copy them with, and a suspended job."""
    documents = [_claim(run), _copying_pod(run), _job(run)]
    return comment(*_job_steps(run)) + yaml_text(*documents)


def kubeflow_text(run: PrintedRun) -> str:
    """Return a Notebook of Kubeflow with its claim. Raises BadInput for any other mode."""
    if run.mode != "jupyter":
        hint = "add --mode jupyter; `--print kubernetes` writes a job"
        raise refuse("a Notebook starts Jupyter", "kubeflow", hint)
    pod = _pod(run)
    container = pod["containers"][0]
    container["ports"] = [{"name": "notebook-port", "containerPort": JUPYTER_PORT}]
    notebook = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "Notebook",
        "metadata": _metadata(run, "notebook", run.name),
        "spec": {"template": {"spec": pod}},
    }
    steps = [
        *_secret_steps(run, "--namespace NAMESPACE "),
        "kubectl apply --namespace NAMESPACE --filename FILE",
        f"{_copy(run.code, f'{run.name}-0', CODE)} --namespace NAMESPACE" if run.code else "",
        "The notebook is in Kubeflow's list, behind its login.",
    ]
    return comment(*filter(None, steps)) + yaml_text(_claim(run), notebook)


def _metadata(run: PrintedRun, component: str, name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"app.kubernetes.io/name": run.name, _COMPONENT: component}}


def _claim(run: PrintedRun) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(run, "files", run.name),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": _CLAIM_SIZE}},
        },
    }


def _copying_pod(run: PrintedRun) -> dict[str, Any]:
    """Return a pod without a GPU that sleeps, so that files can be copied into its volume."""
    pod = _pod(run)
    container = {
        **{name: pod["containers"][0][name] for name in ("name", "image", "workingDir")},
        "command": ["sleep", "infinity"],
        "volumeMounts": [
            {name: value for name, value in mount.items() if name != "readOnly"}
            for mount in _volume_mounts(run)
            if mount["name"] != _SHM
        ],
    }
    spec = {
        **_security(run),
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [volume for volume in pod["volumes"] if volume["name"] != _SHM],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(run, "copying", f"{run.name}-copying"),
        "spec": spec,
    }


def _job(run: PrintedRun) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": run.name, _COMPONENT: "run"}
    template = {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", **_pod(run)}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(run, "run", run.name),
        "spec": {"suspend": True, "backoffLimit": 0, "template": template},
    }


def _pod(run: PrintedRun) -> dict[str, Any]:
    spec = run.spec
    container = {
        "name": run.name,
        "image": spec.image,
        "command": [_escaped(argument) for argument in spec.entrypoint],
        "args": [_escaped(argument) for argument in spec.command],
        "workingDir": spec.working_folder,
        "env": list(_environment(run)),
        "ports": [{"containerPort": port.container} for port in spec.ports],
        "resources": {"limits": {_GPU: run.gpu_count}} if spec.gpu else {},
        "volumeMounts": _volume_mounts(run),
        "tty": spec.terminal,
        "stdin": spec.terminal,
    }
    pod = {
        **_security(run),
        "terminationGracePeriodSeconds": spec.stop_seconds,
        "containers": [{name: value for name, value in container.items() if value}],
        "volumes": [
            {"name": _CLAIM, "persistentVolumeClaim": {"claimName": run.name}},
            {
                "name": _SHM,
                "emptyDir": {"medium": "Memory", "sizeLimit": _quantity(spec.shm_bytes)},
            },
        ],
    }
    if spec.gpu:
        taint = {"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}
        pod["tolerations"] = [taint]
    return pod


def _security(run: PrintedRun) -> dict[str, Any]:
    """Return the user of the pod; its group owns the files of the claim."""
    user, _, group = run.spec.user.partition(":")
    if not user.isdecimal():
        return {}
    number = int(group) if group.isdecimal() else int(user)
    return {"securityContext": {"runAsUser": int(user), "runAsGroup": number, "fsGroup": number}}


def _environment(run: PrintedRun) -> Iterator[dict[str, Any]]:
    for name, text in run.spec.variables.items():
        yield {"name": name, "value": _escaped(text)}
    for name in run.secrets:
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": run.name, "key": name}}}


def _escaped(text: str) -> str:
    """Return a text escaped for Kubernetes, which replaces `$(NAME)` by variables."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _volume_mounts(run: PrintedRun) -> list[dict[str, Any]]:
    mounts = [
        {"name": _CLAIM, "mountPath": mount.target, "subPath": path}
        | ({"readOnly": True} if mount.read_only else {})
        for mount, path in _sub_paths(run)
    ]
    return [*mounts, {"name": _SHM, "mountPath": "/dev/shm"}]  # noqa: S108 - the container's


def _sub_paths(run: PrintedRun) -> Iterator[tuple[Mount, str]]:
    """Yield each mount with its folder in the claim; data at several paths has one folder."""
    paths: dict[str, str] = {}
    for mount in run.spec.mounts:
        path = mount.target.strip("/")
        paths.setdefault(mount.source, path if mount.source else "")
        if mount.kind != "tmpfs":
            yield mount, paths[mount.source]


def _quantity(size: int) -> str:
    return f"{size // 2**30}Gi" if size % 2**30 == 0 else str(size)


def _job_steps(run: PrintedRun) -> Iterator[str]:
    """Yield the commands that copy files there, start the job and copy results back."""
    copying = f"{run.name}-copying"
    wait = f"kubectl wait --for=condition=Ready pod/{copying}"
    yield from _secret_steps(run)
    yield "kubectl apply --filename FILE"
    yield wait
    if run.code:
        yield _copy(run.code, copying, CODE)
    for source, target in _data(run):
        yield _copy(source, copying, target)
    yield f"kubectl delete pod {copying}"
    yield f"""kubectl patch job {run.name} --patch '{{"spec":{{"suspend":false}}}}'"""
    yield f"kubectl logs --follow job/{run.name} --pod-running-timeout=1h"
    for port in run.spec.ports:
        ports = f"{port.host or port.container}:{port.container}"
        yield f"kubectl port-forward job/{run.name} {ports}"
    yield f"kubectl apply --filename FILE --selector {_COMPONENT}=copying"
    yield wait
    if run.output:
        yield f"kubectl cp {copying}:{OUTPUT} {quoted((run.output,))}"


def _data(run: PrintedRun) -> Iterator[tuple[str, str]]:
    """Yield data that is copied: each source once, with its first path in the container."""
    targets = {mount.source: mount.target for mount in reversed(run.spec.mounts) if mount.source}
    for source, target in reversed(targets.items()):
        if target not in (CODE, OUTPUT):
            yield source, target


def _copy(source: str, pod: str, target: str) -> str:
    return f"kubectl cp {quoted((f'{source}/.',))} {pod}:{target}"


def _secret_steps(run: PrintedRun, options: str = "") -> Iterator[str]:
    """Yield the line of bash that stores secrets from files, so that no argument has a value."""
    if run.secrets:
        files = " ".join(f'--from-file={name}=<(printf %s "${name}")' for name in run.secrets)
        yield f"kubectl create secret generic {run.name} {options}{files}"
