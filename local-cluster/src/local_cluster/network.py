"""The node's network: a namespace of its own, joined to the host by one link, gone with the namespace."""

import json
import subprocess
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from .control_planes import SERVICE_RANGE
from .errors import ClusterError

#: The link's ends are in 10.213.0.0/30; pods get addresses from the upper half, so that the two never meet.
HOST_ADDRESS = "10.213.0.1"
NODE_ADDRESS = "10.213.0.2"
POD_RANGE = "10.213.128.0/17"
HOST_LINK = "finetune0"
NODE_LINK = "uplink"
API_PORT = 6443


def ip(*arguments: str) -> str:
    """Run iproute2's `ip` and return its standard output; raise ClusterError with its words where it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"ip {' '.join(arguments)}: {done.stderr.strip()}", "root, and a kernel with veth links, are needed"
        )
    return done.stdout


def link_exists(name: str = HOST_LINK) -> bool:
    """Say whether the host has a network link of that name."""
    return Path("/sys/class/net", name).exists()


def taken_ranges(routes_json: str, wanted: Sequence[str] = (POD_RANGE, SERVICE_RANGE, "10.213.0.0/30")) -> list[str]:
    """Return the destinations in `ip -json route` output that overlap what the node wants, but for its own."""
    ranges = [IPv4Network(text) for text in wanted]
    routes: list[str] = []
    for route in json.loads(routes_json or "[]"):
        destination = str(route.get("dst", "default"))
        if destination == "default" or route.get("dev") == HOST_LINK:
            continue
        network = IPv4Network(destination, strict=False)
        if any(network.overlaps(one) for one in ranges):
            routes.append(f"{destination} dev {route.get('dev', '?')}")
    return routes


def join_host(namespace_pid: int) -> None:
    """On the host: make the link into the namespace of that process, and route pods and Services into it."""
    ip("link", "add", HOST_LINK, "type", "veth", "peer", "name", NODE_LINK, "netns", str(namespace_pid))
    ip("address", "add", f"{HOST_ADDRESS}/30", "dev", HOST_LINK)
    ip("link", "set", HOST_LINK, "up")
    for destination in (POD_RANGE, SERVICE_RANGE):
        ip("route", "add", destination, "via", NODE_ADDRESS, "dev", HOST_LINK)


def configure_inside(wait_seconds: float = 10.0) -> None:
    """In the namespace: wait for the link, give it its address, and forward between pods and the host."""
    ip("link", "set", "lo", "up")
    deadline = time.monotonic() + wait_seconds
    while NODE_LINK not in ip("-brief", "link", "show"):
        if time.monotonic() > deadline:
            raise ClusterError("the host made no link into the node's namespace", "see node.log in the state folder")
        time.sleep(0.02)
    ip("address", "add", f"{NODE_ADDRESS}/30", "dev", NODE_LINK)
    ip("link", "set", NODE_LINK, "up")
    # Without a route, connecting to a Service's address fails before iptables could rewrite it.
    ip("route", "add", "default", "via", HOST_ADDRESS)
    # The namespace's own copy; the host's setting is another one.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def remove_link() -> None:
    """Remove the host's end where the namespace's end did not already take it along."""
    try:
        if link_exists():
            ip("link", "delete", HOST_LINK)
    except ClusterError:
        # The kernel removes it by itself with the namespace, in its own time; it may have been faster.
        if link_exists():
            raise
