"""Images without a registry: a base from Debian's packages, builds with buildah, import into the node."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import node_config, oci, packages, tools, traces
from .errors import ClusterError
from .settings import Settings

#: Debian's release and what every image of the project stands on: a full Python (`python3-minimal` lacks most of the
#: standard library) with venv to install wheels by, TLS roots, and OpenMP for the numeric libraries.
RELEASE = "bookworm"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "libgomp1")

#: Lent to the steps of a build, and not part of the image: which authorities this machine trusts, and which index
#: its pip uses. Behind a mirror, no download works without them.
LENT = ("/etc/ssl/certs", "/etc/pip.conf")

#: Layers are unpacked at once and never pushed anywhere, so their packed copies may go.
IMPORT = ("images", "import", "--local", "--discard-unpacked-layers")


def base_image() -> str:
    """Return the base image's name; its tag changes with what is in it."""
    key = hashlib.sha256(" ".join((RELEASE, *BASE_PACKAGES, str(oci.FORMAT))).encode()).hexdigest()[:8]
    return f"localhost/finetune-base:{RELEASE}-{key}"


def import_archive(settings: Settings, archive: Path) -> None:
    """Import an OCI or docker archive into the node's containerd, for pods to use by the names written in it."""
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}", "give an OCI or docker archive (a tar file)")
    _run([*_ctr(settings), *IMPORT, str(archive)], f"importing {archive}")


def _ctr(settings: Settings) -> list[str]:
    """Return containerd's client with the node's address and kubelet's namespace."""
    socket = node_config.Files(settings.node_state).socket
    if not socket.exists():
        raise ClusterError("the node is not running", "run: local-cluster/cluster node up")
    return [str(tools.tool_path(settings, "ctr")), f"--address={socket}", "--namespace=k8s.io"]


def is_imported(settings: Settings, tag: str) -> bool:
    """Say whether the node has the image of that full name."""
    listed = _run([*_ctr(settings), "images", "list", "--quiet", f"name=={tag}"], "listing images")
    return tag in listed.split()


def import_pause(settings: Settings) -> None:
    """Import the image that holds every pod's namespaces; made anew each time, for it takes a blink."""
    _import_program(settings, tools.tool_path(settings, "pause"), node_config.PAUSE_IMAGE)


def import_s3_server(settings: Settings, report: tools.Report) -> str:
    """Build the S3 server (versitygw), import it as an image of that one program, and return the image's name."""
    version = _pinned(settings, tools.S3_SERVER.module, "github.com/versity/versitygw")
    return _import_built(settings, tools.S3_SERVER.name, s3_image(version), report)


def import_prometheus(settings: Settings, report: tools.Report) -> str:
    """Build Prometheus, import it as an image of that one program, and return the image's name."""
    version = _pinned(settings, "prometheus", "github.com/prometheus/prometheus")
    return _import_built(settings, "prometheus", prometheus_image(version), report)


def _pinned(settings: Settings, folder: str, module: str) -> str:
    return tools.required_version((settings.home / "tools" / folder / "go.mod").read_text(), module)


def _import_built(settings: Settings, tool: str, name: str, report: tools.Report) -> str:
    _ctr(settings)  # A node that is not running should show before minutes of building.
    (program,) = tools.build(settings, [tool], report)
    _import_program(settings, program, name)
    return name


def prometheus_image(version: str) -> str:
    """Return Prometheus' image name, for its pinned version with the leading v."""
    return f"localhost/finetune-prometheus:{version.removeprefix('v')}"


def s3_image(version: str) -> str:
    """Return the S3 server's image name, for its pinned version with the leading v."""
    return f"localhost/finetune-s3:{version.removeprefix('v')}"


def _import_program(settings: Settings, program: Path, name: str) -> None:
    """Import an image that holds nothing but one static program, which it runs as nobody."""
    work = node_config.Files(settings.node_state).work
    layer, archive = work / f"{program.name}-layer.tar", work / f"{program.name}.tar"
    with tarfile.open(layer, "w") as tar:
        member = tarfile.TarInfo(program.name)
        member.size, member.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            tar.addfile(member, content)
    oci.write_archive(archive, name, layer, oci.Settings(entrypoint=(f"/{program.name}",), user="65534:65534"))
    import_archive(settings, archive)
    layer.unlink()
    archive.unlink()


def base_archive(settings: Settings, report: tools.Report) -> Path:
    """Return the base image's archive, making it where the cache lacks it (about a minute)."""
    name = base_image()
    final = settings.cache / "images" / f"finetune-base-{name.rpartition(':')[2]}.tar"
    if final.exists():
        return final
    _require_packages()
    report(f"making {name} with debootstrap (about a minute)")
    final.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(settings, "base") as scratch:
        root, layer = scratch / "root", scratch / "layer.tar"
        include = f"--include={','.join(BASE_PACKAGES)}"
        _run(["debootstrap", "--variant=minbase", include, RELEASE, str(root)], "debootstrap")
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / waste, ignore_errors=True)
        # Device nodes are the runtime's business.
        exclude = ["--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]
        tar = ["tar", "--create", "--numeric-owner", "--sort=name", f"--file={layer}", f"--directory={root}"]
        _run([*tar, *exclude, "."], "packing the base image")
        environment = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
        oci.write_archive(final, name, layer, oci.Settings(command=("/bin/bash",), environment=environment))
    return final


def import_base(settings: Settings, report: tools.Report) -> str:
    """Make the base image and import it into the node; return its name."""
    import_archive(settings, base_archive(settings, report))
    return base_image()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build: a Dockerfile with `ARG BASE_IMAGE`, its context, a tag, and further build arguments."""

    dockerfile: Path
    context: Path
    tag: str
    arguments: Mapping[str, str]

    @property
    def name(self) -> str:
        """The image's full name: without a host, it is `localhost`, which no kubelet tries to pull from."""
        return self.tag if "/" in self.tag else f"localhost/{self.tag}"


def build(settings: Settings, recipe: Recipe, report: tools.Report, *, if_missing: bool = False) -> str:
    """Build a Dockerfile with buildah on the base image, import the result into the node, and return its full name.

    `if_missing` does nothing where the node has that name already: for callers whose tag is a digest of the inputs.

    The layers of the last build of a name stay in the cache, so that a step whose inputs are the same is not done
    again. Build containers, and what a build has replaced, are removed at once: a trainer image takes 25 GB while all
    of them lie around.
    """
    _require_packages()
    for path, what in ((recipe.dockerfile, "Dockerfile"), (recipe.context, "context")):
        if not path.exists():
            raise ClusterError(f"the {what} {path} does not exist", f"give the path of the {what}")
    name = recipe.name
    if if_missing and is_imported(settings, name):
        return name
    _ctr(settings)  # A node that is not running should show before minutes of building.
    base = base_archive(settings, report)
    with _layers(settings, name) as storage:
        report(f"building {name} from {recipe.dockerfile}")
        _buildah([*storage, "pull", "--quiet", f"oci-archive:{base}"], f"reading {base}")
        _buildah([*storage, *_bud(recipe)], f"building {recipe.dockerfile}", show=True)
        _remove_replaced(storage, name)
        report(f"importing {name}")
        _hand_over(settings, storage, name)
    return name


def _bud(recipe: Recipe) -> list[str]:
    """Return buildah's words for building the recipe on the base image."""
    given = {"BASE_IMAGE": base_image(), **recipe.arguments}
    arguments = [flag for key, value in given.items() for flag in ("--build-arg", f"{key}={value}")]
    lent = [flag for path in LENT if Path(path).exists() for flag in ("--volume", f"{path}:{path}:ro")]
    bud = ["bud", "--pull-never", "--layers", "--file", str(recipe.dockerfile), "--tag", recipe.name]
    return [*bud, *lent, *arguments, str(recipe.context)]


def _require_packages() -> None:
    missing = packages.missing(packages.IMAGES)
    if missing:
        raise ClusterError(f"not installed: {' '.join(missing)}", "run: local-cluster/cluster packages install")


def _buildah(arguments: Sequence[str], what: str, *, show: bool = False) -> str:
    return _run(["buildah", *arguments], what, environ=_buildah_environ(), show=show)


def _buildah_environ() -> dict[str, str]:
    return {**os.environ, "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}


def _hand_over(settings: Settings, storage: Sequence[str], name: str) -> None:
    """Stream a built image into the node: as a file it would be one more copy, and compressed, minutes more."""
    push = ["buildah", *storage, "push", "--quiet", name, f"docker-archive:/dev/stdout:{name}"]
    with subprocess.Popen(push, env=_buildah_environ(), stdout=subprocess.PIPE) as pushing:
        try:
            _run([*_ctr(settings), *IMPORT, "-"], f"importing {name}", stdin=pushing.stdout)
        finally:
            if pushing.stdout is not None:
                pushing.stdout.close()
    if pushing.returncode != 0:
        raise ClusterError(f"buildah push of {name} exited with {pushing.returncode}", "read the lines above")


@contextmanager
def _layers(settings: Settings, name: str) -> Iterator[list[str]]:
    """Yield buildah's words for the storage that keeps the layers of a name's last build; one build of it at a time."""
    folder = settings.cache / "images" / "layers" / name.rpartition("/")[2].partition(":")[0]
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        try:
            yield storage
        finally:
            # Containers of a build that failed; and of one that was killed, in the next one.
            _buildah([*storage, "rm", "--all"], "removing build containers")
            _unmount(folder)


def _remove_replaced(storage: Sequence[str], name: str) -> None:
    """Remove the images that are neither the one of that name nor the base; layers that these need stay."""

    def listed(*which: str) -> set[str]:
        return set(_buildah([*storage, "images", "--quiet", "--no-trunc", *which], "listing images").split())

    kept = listed(name) | listed(base_image())
    for image in sorted(listed() - kept):
        _buildah([*storage, "rmi", image], "removing what was replaced")


@contextmanager
def _scratch(settings: Settings, purpose: str) -> Iterator[Path]:
    """Yield a new folder on the cache's disk, gone afterwards with whatever was still mounted in it."""
    folder = settings.cache / "scratch" / f"{purpose}-{os.getpid()}"
    folder.mkdir(parents=True, mode=0o755)
    try:
        yield folder
    finally:
        _unmount(folder)
        if not _mounts(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    for point in reversed(_mounts(folder)):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _mounts(folder: Path) -> list[str]:
    return traces.mounts_below(folder, Path("/proc/self/mountinfo").read_text())


def _run(
    command: Sequence[str],
    what: str,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    show: bool = False,
) -> str:
    """Run a command and return what it printed; `show` passes that on to standard error as it comes instead."""
    done = subprocess.run(
        list(command),
        env=None if environ is None else dict(environ),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        # Standard output is for our own results.
        stdout=sys.stderr if show else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    printed = done.stdout or ""
    if done.returncode != 0:
        raise ClusterError(
            f"{what} failed ({command[0]} exited with {done.returncode}) {printed[-2000:]}", "read the lines above"
        )
    return printed
