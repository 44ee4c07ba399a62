"""Debian's part of the node: what has to be installed, and installing only what is missing."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .errors import ClusterError

#: Package -> a file that shows it is there, for machines that got it in another way. runc and not crun: crun 1.8
#: refuses the runtime specification version that containerd 2.4 writes.
NODE = {
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iptables": "/usr/sbin/iptables",
    "conntrack": "/usr/sbin/conntrack",
    "ethtool": "/usr/sbin/ethtool",
    "iproute2": "/usr/sbin/ip",
    "util-linux": "/usr/bin/unshare",
    "openssl": "/usr/bin/openssl",
}
IMAGES = {"buildah": "/usr/bin/buildah", "debootstrap": "/usr/sbin/debootstrap"}


def missing(wanted: dict[str, str]) -> tuple[str, ...]:
    """Return the packages whose file is not there."""
    return tuple(name for name, file in wanted.items() if not Path(file).exists())


def install(report: Callable[[str], None]) -> tuple[str, ...]:
    """Install the missing packages with apt and return them; raise ClusterError where that cannot work."""
    wanted = missing(NODE | IMAGES)
    if not wanted:
        return ()
    if shutil.which("apt-get") is None:
        raise ClusterError("this machine has no apt-get", f"install by hand: {' '.join(wanted)}")
    if os.geteuid() != 0:
        raise ClusterError("installing packages needs root", "run it as root (sudo -E)")
    report(f"installing {' '.join(wanted)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install_command = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    for command in (["apt-get", "update"], install_command):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(
                f"{' '.join(command[:2])} failed: {done.stderr[-1000:]}", "make Debian's package archive reachable"
            )
    left = missing(NODE | IMAGES)
    if left:
        raise ClusterError(f"still missing after the installation: {' '.join(left)}", "install them by hand")
    return wanted
