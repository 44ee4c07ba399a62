"""Free TCP ports on loopback."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

from .errors import ClusterError

#: Below the kernel's ephemeral range (from 32768) and the NodePorts (from 30000), so that no client socket
#: takes a port between our looking and the server's binding.
FIRST, LAST = 20000, 29999


def _candidates(address: str, stack: ExitStack) -> Iterator[int]:
    for port in random.sample(range(FIRST, LAST + 1), k=1000):
        holder = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            holder.bind((address, port))
        except OSError:
            continue
        yield port


def free_ports(count: int, address: str = "127.0.0.1") -> tuple[int, ...]:
    """Return `count` different ports nobody listens on; drawn at random, so that parallel callers rarely meet."""
    with ExitStack() as stack:
        ports = tuple(port for port, _ in zip(_candidates(address, stack), range(count), strict=False))
    if len(ports) < count:
        raise ClusterError(
            f"fewer than {count} free TCP ports between {FIRST} and {LAST} on {address}",
            "stop what listens there (ss -ltnp)",
        )
    return ports
