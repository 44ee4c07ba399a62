"""Free TCP ports on loopback."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .errors import ClusterError

#: Below the kernel's ephemeral range (from 32768) and the NodePorts (from 30000), so that no client socket
#: takes a port between our looking and the server's binding.
FIRST, LAST = 20000, 29999

_DIGITS = 5
"""Of a port in the file that says which one is next."""


def free_ports(count: int, address: str = "127.0.0.1") -> tuple[int, ...]:
    """Return `count` different ports nobody listens on, and that nobody else on this machine is given soon.

    A server binds its port a while after it was given: who draws by chance meets somebody once in some hundred starts.
    """
    with _turn() as turn, ExitStack() as stack:
        ports = tuple(port for port, _ in zip(_candidates(address, turn, stack), range(count), strict=False))
        if ports:
            turn.following = ports[-1] + 1
    if len(ports) < count:
        raise ClusterError(
            f"fewer than {count} free TCP ports between {FIRST} and {LAST} on {address}",
            "stop what listens there (ss -ltnp)",
        )
    return ports


class _Turn:
    """Which port is the next one to be given."""

    def __init__(self, following: int) -> None:
        self.following = following


@contextmanager
def _turn() -> Iterator[_Turn]:
    """Wait until nobody else of this user is given ports, and remember what comes next.

    Where that cannot be remembered it is by chance.
    """
    by_chance = random.randint(FIRST, LAST)  # noqa: S311 - chance, and no secret
    place = Path(tempfile.gettempdir(), f"finetune-operator-ports-{os.getuid()}")
    try:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield _Turn(by_chance)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        said = os.pread(descriptor, _DIGITS, 0)
        turn = _Turn(int(said) if said.isdigit() else by_chance)
        yield turn
        os.pwrite(descriptor, f"{turn.following:0{_DIGITS}d}".encode(), 0)
    finally:
        os.close(descriptor)


def _candidates(address: str, turn: _Turn, stack: ExitStack) -> Iterator[int]:
    """Yield ports that can be bound, from the next one on, each once."""
    span = LAST - FIRST + 1
    for step in range(span):
        port = FIRST + (turn.following - FIRST + step) % span
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind((address, port))
        except OSError:
            holder.close()
            continue
        stack.enter_context(holder)
        yield port
