"""Examination of a machine for runs: the probe, findings, and a plan that mends them."""

import time
from dataclasses import dataclass, replace
from typing import Final

from dlimg.context import Context
from dlimg.engine.docker_address import named_address
from dlimg.engine.private_engine import unsupported_reason
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.host.process import ProcessResult, run, run_streaming
from dlimg.host.ssh import SshHost, connection_failure, is_ssh_failure
from dlimg.model import OCI_ARCHITECTURES, LocalMachine
from dlimg.pipeline.run_image import ImageRequest, choose_image
from dlimg.registry.reference import parse_reference, registry_url
from dlimg.run.doctor import DoctorFinding, MachineNeed, findings
from dlimg.run.lifecycle import running_engine
from dlimg.run.machine_packages import PackageSources
from dlimg.run.machine_probe import SCRIPT, MachineProbe, parse_probe
from dlimg.run.machine_setup import SetupPlan, SetupStep, setup_plan
from dlimg.run.model import ImageChoice, RunRequest

SOURCES: Final = "DLIMG_NVIDIA_SOURCES"
_SECONDS: Final = 180
_STEP_SECONDS: Final = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """The probe of a machine, its findings, and the plan that mends them."""

    probe: MachineProbe
    findings: tuple[DoctorFinding, ...]
    plan: SetupPlan

    @property
    def is_good(self) -> bool:
        return all(finding.state != "failed" for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """A machine to examine, and the run that it is for; without a host it is this machine."""

    request: RunRequest
    matrix: str
    host: SshHost | None


def examine(target: DoctorRequest, context: Context) -> DoctorReport:
    """Examine a machine. Raises NetworkFailure without a connection, Negative without an answer."""
    first = _choice(target, LocalMachine(), context)
    registry = _registry(first)
    began = time.time()
    probe = _probe(target.host, registry, context)
    # Its clock was read at some time in between.
    now = (began + time.time()) / 2
    need = _need(target, probe, first, context)
    results = findings(probe, replace(need, registry=registry, now=now))
    plan = setup_plan(probe, results, sources(context), floor=need.floor)
    return DoctorReport(probe=probe, findings=results, plan=plan)


def _need(
    target: DoctorRequest, probe: MachineProbe, first: ImageChoice | None, context: Context
) -> MachineNeed:
    """Return the needs of the image for this machine's GPUs, or of the first one without GPUs."""
    choice, obstacle = first, ""
    if probe.driver:
        gpus = LocalMachine(gpus=probe.gpus, driver=probe.driver, arch=probe.arch)
        try:
            choice = _choose(target, gpus, context)
        except DlimgError as error:
            obstacle = error.problems[0].message
    name = target.host.destination if target.host else ""
    may_start = not target.host and named_address(context) is None and not unsupported_reason()
    return MachineNeed(
        image=choice.cell if choice else "",
        floor=choice.driver if choice else "",
        source=choice.driver_source if choice else "",
        size=choice.download if choice else 0,
        wants_gpu=target.request.gpu != "cpu",
        obstacle=obstacle,
        on=f" --on {name}" if name else "",
        own_engine=may_start,
    )


def _choice(target: DoctorRequest, machine: LocalMachine, context: Context) -> ImageChoice | None:
    """Return the image for any GPU, or None without one. Raises BadInput for a wrong name."""
    try:
        return _choose(target, machine, context)
    except Negative:
        return None


def _choose(target: DoctorRequest, machine: LocalMachine, context: Context) -> ImageChoice:
    request = target.request
    image_request = ImageRequest(
        env=request.env,
        mode=request.mode,
        gpu=request.gpu != "cpu",
        machine=machine,
        architecture=OCI_ARCHITECTURES.get(machine.arch, "amd64"),
        folder=request.folder,
    )
    return choose_image(image_request, target.matrix, context)


def _registry(choice: ImageChoice | None) -> str:
    """Return the host of the image's registry; empty for an image without one."""
    names = choice.names if choice else ()
    return next(filter(None, (parse_reference(name).host for name in names)), "")


def _probe(host: SshHost | None, registry: str, context: Context) -> MachineProbe:
    arguments = ["sh", "-s", "--", registry, registry_url(registry)]
    if host:
        completed = host.run(arguments, stdin=SCRIPT, timeout=_SECONDS)
    else:
        environment = _leading_to_engine(context).environment
        completed = run(arguments, env=environment, stdin=SCRIPT, timeout=_SECONDS)
    probe = parse_probe(completed.stdout)
    if probe is None:
        name = host.destination if host else "this machine"
        reason = f": {completed.tail}" if completed.tail else ""
        hint = "a machine with Linux and a POSIX shell is needed; `--on user@vm` names one"
        raise Negative(f"{name} does not answer as Linux does{reason}", hint=hint)
    return probe


def _leading_to_engine(context: Context) -> Context:
    """Return a context that leads `docker` to the engine that runs here use, if one answers."""
    try:
        engine = running_engine(context)
    except NoEngine:
        return context
    path = f"{engine.docker.parent}:{engine.environment.get('PATH', '')}"
    return replace(engine.context, environment={**engine.environment, "PATH": path})


def sources(context: Context) -> PackageSources:
    """Return the package sources of driver and toolkit: NVIDIA's, or a mirror of both."""
    mirror = context.environment.get(SOURCES, "").rstrip("/")
    if not mirror:
        return PackageSources()
    return PackageSources(drivers=f"{mirror}/drivers", toolkit=f"{mirror}/toolkit")


def run_step(step: SetupStep, host: SshHost | None, sudo: str, context: Context) -> None:
    """Run a step as root; its output goes to the log. Raises Negative with its end."""
    if sudo not in {"root", "free"}:
        hint = "run the printed lines there yourself, or allow sudo without a password"
        raise Negative("this user is not root, and sudo asks for a password", hint=hint)
    arguments = ["sh", "-s"] if sudo == "root" else ["sudo", "-n", "sh", "-s"]
    text = "\n".join(("exec 1>&2", "set -e", "export DEBIAN_FRONTEND=noninteractive", *step.lines))
    completed = _streamed(arguments, f"{text}\n", host, context)
    if host and is_ssh_failure(completed):
        raise connection_failure(host.destination, completed)
    if completed.returncode != 0:
        hint = "mend that, then repeat the command: it goes on here"
        raise Negative(
            f"{step.name}: ended with {completed.returncode}:\n{completed.tail}", hint=hint
        )


def _streamed(
    arguments: list[str], text: str, host: SshHost | None, context: Context
) -> ProcessResult:
    argv = host.argv(arguments) if host else arguments
    return run_streaming(
        argv, on_line=context.log, env=context.environment, stdin=text, timeout=_STEP_SECONDS
    )
