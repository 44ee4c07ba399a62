"""Whom a change concerns: the keys to wake, few enough that a burst of one kind stays a burst of that kind."""

from collections.abc import Iterator

from ..cluster.notes import Note, is_final_run
from ..cluster.port import Kind
from ..cluster.store import Change, Store
from .keys import RECONCILED, Key


def dependents(change: Change, store: Store) -> Iterator[Key]:
    """Yield the keys whose next decision may differ after `change`, the changed object itself among them."""
    if change.kind in RECONCILED:
        yield Key(change.kind, change.namespace, change.name)
    match change.kind:
        case Kind.JOB | Kind.POD | Kind.CONFIG_MAP:
            yield from _owners(change, store)
        case Kind.POLICY:
            yield from _of_policy(change, store)
        case Kind.PROMOTION:
            yield from _of_promotion(change, store)
        case Kind.MODEL_VERSION:
            yield from _of_version(change, store)
        case Kind.DEPLOYMENT:
            yield from _of_policies(store, change.namespace, "deployment", change.name, runs=False)
        case Kind.POD_TEMPLATE:
            yield from _of_policies(store, change.namespace, "template", change.name, runs=True)
        case Kind.RUN | Kind.EVENT:
            return


def _owners(change: Change, store: Store) -> Iterator[Key]:
    """Yield the run or version that a child belongs to, by uid: a name may belong to another by now."""
    note = change.after or change.before
    uid = note.ref("owner") if note else None
    if uid is None:
        return
    for kind in (Kind.RUN, Kind.MODEL_VERSION):
        for name in store.find(kind, change.namespace, "uid", uid):
            yield Key(kind, change.namespace, name)


def _of_policy(change: Change, store: Store) -> Iterator[Key]:
    """Yield who looks at the policy: its promotions always, runs and versions only when what they see changed."""
    yield from _open_promotions(store, change.namespace, change.name)
    if change.before is not None and change.after is not None and change.before.digest == change.after.digest:
        return
    yield from _open_runs(store, change.namespace, change.name)
    for note in (change.before, change.after):
        model = note.ref("model") if note else None
        if model is not None:
            for name in store.find(Kind.MODEL_VERSION, change.namespace, "model", model):
                yield Key(Kind.MODEL_VERSION, change.namespace, name)
        deployment = note.ref("deployment") if note else None
        if deployment is not None:  # rivals: the oldest policy of a Deployment owns it
            for name in store.find(Kind.POLICY, change.namespace, "deployment", deployment):
                if name != change.name:
                    yield Key(Kind.POLICY, change.namespace, name)


def _of_promotion(change: Change, store: Store) -> Iterator[Key]:
    if _same_digest(change):
        return
    for note in (change.before, change.after):
        policy = note.ref("policy") if note else None
        if policy is not None:
            yield Key(Kind.POLICY, change.namespace, policy)
    for name in store.find(Kind.RUN, change.namespace, "promotion", change.name):
        yield Key(Kind.RUN, change.namespace, name)


def _of_version(change: Change, store: Store) -> Iterator[Key]:
    """Yield the model's policies and open promotions; a new or verified base also lets waiting runs begin."""
    if _same_digest(change):
        return
    note = change.after or change.before
    model = note.ref("model") if note else None
    if note is None or model is None:
        return
    for policy in store.find(Kind.POLICY, change.namespace, "model", model):
        yield Key(Kind.POLICY, change.namespace, policy)
        yield from _open_promotions(store, change.namespace, policy)
        if note.ref("type") == "Base":
            yield from _open_runs(store, change.namespace, policy)


def _of_policies(store: Store, namespace: str, ref: str, value: str, *, runs: bool) -> Iterator[Key]:
    for policy in store.find(Kind.POLICY, namespace, ref, value):
        yield Key(Kind.POLICY, namespace, policy)
        yield from _open_promotions(store, namespace, policy)
        if not runs:
            continue
        yield from _open_runs(store, namespace, policy)
        note = store.note(Kind.POLICY, namespace, policy)
        for version in store.find(Kind.MODEL_VERSION, namespace, "model", (note.ref("model") if note else None) or ""):
            yield Key(Kind.MODEL_VERSION, namespace, version)


def _open_runs(store: Store, namespace: str, policy: str) -> Iterator[Key]:
    for name in store.find(Kind.RUN, namespace, "policy", policy):
        note = store.note(Kind.RUN, namespace, name)
        if note is not None and not is_final_run(note):
            yield Key(Kind.RUN, namespace, name)


def _open_promotions(store: Store, namespace: str, policy: str) -> Iterator[Key]:
    for name in store.find(Kind.PROMOTION, namespace, "policy", policy):
        note = store.note(Kind.PROMOTION, namespace, name)
        if note is not None and not _is_final_promotion(note):
            yield Key(Kind.PROMOTION, namespace, name)


def _is_final_promotion(note: Note) -> bool:
    return note.phase in {"Succeeded", "RolledBack", "Failed", "Superseded"}


def _same_digest(change: Change) -> bool:
    return change.before is not None and change.after is not None and change.before.digest == change.after.digest
