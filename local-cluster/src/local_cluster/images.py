"""Images without a registry: a base from Debian's packages, builds with buildah, import into the node."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local_cluster import node_config, oci, packages, tools, traces
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings

#: Debian's release and what every image of the project stands on: a full Python (`python3-minimal` lacks most of the
#: standard library) with venv to install wheels by, TLS roots, and OpenMP for the numeric libraries.
RELEASE = "bookworm"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "libgomp1")


def base_image() -> str:
    """Return the base image's name; its tag changes with what is in it."""
    key = hashlib.sha256(" ".join((RELEASE, *BASE_PACKAGES)).encode()).hexdigest()[:8]
    return f"localhost/finetune-base:{RELEASE}-{key}"


def import_archive(settings: Settings, archive: Path) -> None:
    """Import an OCI or docker archive into the node's containerd, for pods to use by the names written in it."""
    socket = node_config.Files(settings.node_state).socket
    if not socket.exists():
        raise ClusterError("the node is not running", "run: local-cluster/cluster node up")
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}", "give an OCI or docker archive (a tar file)")
    command = [str(tools.tool_path(settings, "ctr")), f"--address={socket}", "--namespace=k8s.io"]
    _run([*command, "images", "import", "--local", str(archive)], f"importing {archive}")


def import_pause(settings: Settings) -> None:
    """Import the image that holds every pod's namespaces; made anew each time, for it takes a blink."""
    work = node_config.Files(settings.node_state).work
    layer, archive = work / "pause-layer.tar", work / "pause.tar"
    with tarfile.open(layer, "w") as tar:
        member = tarfile.TarInfo("pause")
        binary = tools.tool_path(settings, "pause")
        member.size, member.mode = binary.stat().st_size, 0o755
        with binary.open("rb") as content:
            tar.addfile(member, content)
    oci.write_archive(archive, node_config.PAUSE_IMAGE, layer, oci.Settings(entrypoint=("/pause",), user="65534:65534"))
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


def build(
    settings: Settings,
    dockerfile: Path,
    context: Path,
    tag: str,
    arguments: Mapping[str, str],
    report: tools.Report,
) -> str:
    """Build a Dockerfile with buildah on the base image, import the result into the node, and return its full name.

    The Dockerfile has `ARG BASE_IMAGE`. Build containers and copies are removed at once: a trainer image takes 25 GB
    while all of them lie around.
    """
    _require_packages()
    for path, what in ((dockerfile, "Dockerfile"), (context, "context")):
        if not path.exists():
            raise ClusterError(f"the {what} {path} does not exist", f"give the path of the {what}")
    name = tag if "/" in tag else f"localhost/{tag}"
    base = base_archive(settings, report)
    with _scratch(settings, "build") as scratch:
        storage = ["--root", str(scratch / "storage"), "--runroot", str(scratch / "run")]
        given = {"BASE_IMAGE": base_image(), **arguments}
        report(f"building {name} from {dockerfile}")
        _buildah([*storage, "pull", "--quiet", f"oci-archive:{base}"], f"reading {base}")
        flags = [flag for key, value in given.items() for flag in ("--build-arg", f"{key}={value}")]
        bud = ["bud", "--pull-never", "--layers=false", "--disable-compression", "--file", str(dockerfile)]
        _buildah([*storage, *bud, "--tag", name, *flags, str(context)], f"building {dockerfile}", show=True)
        archive = scratch / "image.tar"
        _buildah([*storage, "push", "--quiet", "--disable-compression", name, f"oci-archive:{archive}:{name}"], "saving")
        _remove_storage(storage)
        report(f"importing {name} ({archive.stat().st_size / 2**20:.0f} MiB)")
        import_archive(settings, archive)
    return name


def _require_packages() -> None:
    missing = packages.missing(packages.IMAGES)
    if missing:
        raise ClusterError(f"not installed: {' '.join(missing)}", "run: local-cluster/cluster packages install")


def _buildah(arguments: Sequence[str], what: str, *, show: bool = False) -> None:
    environ = {**os.environ, "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
    _run(["buildah", *arguments], what, environ=environ, show=show)


def _remove_storage(storage: Sequence[str]) -> None:
    for command in (["rm", "--all"], ["rmi", "--all", "--force"]):
        _buildah([*storage, *command], "removing build containers")


@contextmanager
def _scratch(settings: Settings, purpose: str) -> Iterator[Path]:
    """Yield a new folder on the cache's disk, gone afterwards with whatever was still mounted in it."""
    folder = settings.cache / "scratch" / f"{purpose}-{os.getpid()}"
    folder.mkdir(parents=True, mode=0o755)
    try:
        yield folder
    finally:
        for point in reversed(_mounts(folder)):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
        if not _mounts(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _mounts(folder: Path) -> list[str]:
    return traces.mounts_below(folder, Path("/proc/self/mountinfo").read_text())


def _run(command: Sequence[str], what: str, *, environ: Mapping[str, str] | None = None, show: bool = False) -> None:
    done = subprocess.run(
        list(command),
        env=None if environ is None else dict(environ),
        # Standard output is for results.
        stdout=sys.stderr if show else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = "" if show else f": {(done.stdout or '')[-2000:]}"
        raise ClusterError(f"{what} failed ({command[0]} exited with {done.returncode}){words}", "read the lines above")
