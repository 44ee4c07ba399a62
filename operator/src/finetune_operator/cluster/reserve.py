"""Version numbers: given once, by compare-and-swap in the policy's status, before the object is made."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from ..api import names
from ..api.policy import NextVersion, Policy, PolicyStatus, Reservation
from ..api.value import parse, plain
from ..decide.decision import ReserveVersion
from ..manifests.merge_patch import merge_patch
from .errors import Conflict, NotFound
from .kinds import Kind
from .port import Cluster

_TRIES: Final = 8

_COUNTED: Final = 5_000_000
"""From a number beyond this nothing is counted on: whoever writes one must not bring ours to where none can be made."""


def with_reservation(
    status: PolicyStatus, run_uid: str, series: int, taken: Iterable[str], instead_of: str | None = None
) -> PolicyStatus:
    """Return `status` with a number of `series` reserved for the run; the same status when it has one.

    The high-water mark holds for the newest series. An older series (a run that names an older base) counts on
    from what is known of it: `taken` names the versions that exist. A reservation of `instead_of` is given up for the
    next number: what has that name is another object, left over from before a restore perhaps.
    """
    if any(r.run_uid == run_uid and r.version != instead_of for r in status.reservations):
        return status
    known = [*taken, *(r.version for r in status.reservations), *(v.version for v in status.last_good)]
    known += [instead_of] if instead_of else []
    known += [entry.version for entry in status.quarantined]
    known += [entry.version for entry in status.taken_back]
    known += [entry.version for entry in status.rejected]
    known += [status.live.version] if status.live else []
    number = 1 + max((_number(name, series) for name in known), default=0)
    mark = status.next_version
    if series == mark.series and mark.tuned <= _COUNTED:
        number = max(number, mark.tuned)
    if series >= mark.series:
        mark = NextVersion(series=series, tuned=number + 1)
    reserved = Reservation(run_uid=run_uid, version=names.tuned_version(series, number))
    kept = (r for r in status.reservations if r.run_uid != run_uid)
    return replace(status, reservations=(*kept, reserved), next_version=mark)


async def reserve(cluster: Cluster, namespace: str, action: ReserveVersion) -> None:
    """Write the reservation. Raises NotFound for a policy that is gone, Conflict when others keep winning."""
    policy = action.policy
    specs = [version.get("spec") or {} for version in await cluster.list(Kind.MODEL_VERSION, namespace)]
    for attempt in range(_TRIES):
        raw = await cluster.get(Kind.POLICY, namespace, policy, fresh=attempt > 0)
        if raw is None:
            raise NotFound(f"FineTunePolicy {policy!r} is gone; no version number can be reserved")
        status: dict[str, Any] = raw.get("status") or {}
        known = parse(raw, Policy)
        old, taken = known.status, [str(s.get("version", "")) for s in specs if s.get("model") == known.spec.model]
        new = with_reservation(old, action.run_uid, action.series, taken, action.instead_of)
        if new is old:
            return
        metadata = raw["metadata"]
        patch = {"status": merge_patch(status, plain(new))}
        try:
            await cluster.patch_status(
                Kind.POLICY, namespace, policy, metadata["uid"], metadata["resourceVersion"], patch
            )
        except Conflict:
            continue
        return
    raise Conflict(f"FineTunePolicy {policy!r}: its status changed {_TRIES} times while a number was reserved")


def _number(version: str, series: int) -> int:
    """Return 3 for ft_v1.3 of series 1, 0 for anything else, and for a number that is not counted on from."""
    head = f"ft_v{series}."
    if not version.startswith(head) or not names.is_version(version):
        return 0
    number = int(version.removeprefix(head))
    return number if number <= _COUNTED else 0
