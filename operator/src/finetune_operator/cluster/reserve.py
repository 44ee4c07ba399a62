"""Version numbers: given once, by compare-and-swap in the policy's status, before the object is made."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from ..api import names
from ..api.policy import Policy
from ..api.policy_status import NextVersion, PolicyStatus, Reservation
from ..api.value import InvalidObject, parse, plain
from ..decide import limits
from ..decide.decision import ReserveVersion
from ..manifests.merge_patch import merge_patch
from .errors import Conflict, NotFound
from .kinds import Kind
from .port import Cluster, Object

_TRIES: Final = 8

_COUNTED: Final = 5_000_000
"""From a number beyond this nothing is counted on: whoever writes one must not bring ours to where none can be made."""

_COUNTED_BASES: Final = 50_000
"""The same for the numbers of bases, which the CRDs allow five digits."""

_MARKED: Final = 9_000_000
"""Only a policy's own mark is believed beyond that, for ours go on from the last that is counted on."""


def with_reservation(
    status: PolicyStatus,
    run_uid: str,
    series: int | None,
    taken: Iterable[str],
    instead_of: str | None = None,
    others: Iterable[PolicyStatus] = (),
) -> PolicyStatus:
    """Return `status` with a number of `series` reserved for the run; the same status when it has one.

    Without a series it is the number of a new base: above that of every series that is known of.
    Each series has its high-water mark; one whose mark is lost counts on from what is known of it: `taken` names the
    versions that exist, `others` are the statuses of the other policies of the model. A reservation of `instead_of` is
    given up for the next number: what has that name is another object, left over from before a restore perhaps.
    """
    if any(r.run_uid == run_uid and r.version != instead_of for r in status.reservations):
        return status
    statuses = (status, *others)
    known = {*taken, *(name for one in statuses for name in _named(one))}
    known |= {instead_of} if instead_of else set()
    kept = tuple(r for r in status.reservations if r.run_uid != run_uid)
    if series is None:
        number = _next_base(known, statuses)
        reserved = Reservation(run_uid=run_uid, version=names.base_version(number))
        return replace(status, next_base=number + 1, reservations=(*kept, reserved))
    marks = [mark for one in statuses for mark in (*one.older_series, one.next_version)]
    marked = (mark.tuned for mark in marks if mark.series == series and mark.tuned <= _MARKED)
    number = max(1 + max((_number(name, series) for name in known), default=0), max(marked, default=1))
    while names.tuned_version(series, number) in known:
        number += 1  # it is one that is not counted on from
    reserved = Reservation(run_uid=run_uid, version=names.tuned_version(series, number))
    marks_kept = _with_mark(status, NextVersion(series=series, tuned=number + 1))
    return replace(marks_kept, reservations=(*kept, reserved))


def _next_base(known: Iterable[str], statuses: Iterable[PolicyStatus]) -> int:
    """Return the number of the next base: above that of every base, fine-tune and mark.

    A series whose base nobody knows any more had one, and its fine-tunes must not become another base's.
    """
    series = {names.series_of(name) or 0 for name in known if names.is_version(name)}
    for status in statuses:
        marks = (*status.older_series, status.next_version)
        series |= {status.next_base - 1, *(mark.series for mark in marks)}
    number = 1 + max((one for one in series if one <= _COUNTED_BASES), default=0)
    while number in series:
        number += 1  # it is one that is not counted on from
    return number


def _with_mark(status: PolicyStatus, new: NextVersion) -> PolicyStatus:
    """Return `status` with the mark of one series set; beyond the bound the oldest series lose theirs."""
    known = {mark.series: mark for mark in (*status.older_series, status.next_version, new)}
    first = NextVersion()
    *older, newest = sorted((m for m in known.values() if m != first or m is new), key=lambda m: m.series)
    return replace(status, next_version=newest, older_series=tuple(older[-limits.OLDER_SERIES :]))


def _named(status: PolicyStatus) -> Iterator[str]:
    """Yield the versions that a policy knows, whatever became of their objects."""
    flight = status.in_flight
    live = (status.live, *((flight.to, flight.back) if flight else ()))
    yield from (version.version for version in live if version is not None)
    for entries in (status.reservations, status.last_good, status.quarantined, status.taken_back, status.rejected):
        yield from (entry.version for entry in entries)


async def reserve(cluster: Cluster, namespace: str, action: ReserveVersion) -> None:
    """Write the reservation. Raises NotFound for a policy that is gone, Conflict when others keep winning."""
    policy = action.policy
    specs = [version.get("spec") or {} for version in await cluster.list(Kind.MODEL_VERSION, namespace)]
    policies = [readable for one in await cluster.list(Kind.POLICY, namespace) if (readable := _readable(one))]
    served = {d["metadata"]["name"]: _served(d) for d in await cluster.list(Kind.DEPLOYMENT, namespace)}
    for attempt in range(_TRIES):
        raw = await cluster.get(Kind.POLICY, namespace, policy, fresh=attempt > 0)
        if raw is None:
            raise NotFound(f"FineTunePolicy {policy!r} is gone; no version number can be reserved")
        status: dict[str, Any] = raw.get("status") or {}
        known = parse(raw, Policy)
        old, model = known.status, known.spec.model
        others = [p for p in policies if p.spec.model == model and p.metadata.name != policy]
        taken = [str(spec.get("version", "")) for spec in specs if spec.get("model") == model]
        taken += [served.get(p.spec.deployment, "") for p in (known, *others)]
        new = with_reservation(
            old, action.run_uid, action.series, taken, action.instead_of, [other.status for other in others]
        )
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


def _readable(raw: Object) -> Policy | None:
    """Return the policy; None for one that nobody can read: it says so itself, and keeps no other from a number."""
    try:
        return parse(raw, Policy)
    except InvalidObject:
        return None


def _served(deployment: Object) -> str:
    """Return the version that a Deployment's keys name; it may not be adopted yet, as it is not rolled out (D39)."""
    template: Object = (deployment.get("spec") or {}).get("template") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.MODEL_VERSION_KEY, ""))


def _number(version: str, series: int) -> int:
    """Return 3 for ft_v1.3 of series 1, 0 for anything else, and for a number that is not counted on from."""
    head = f"ft_v{series}."
    if not version.startswith(head) or not names.is_version(version):
        return 0
    number = int(version.removeprefix(head))
    return number if number <= _COUNTED else 0
