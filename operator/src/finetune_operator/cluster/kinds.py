"""The kinds: one entry each, from which watches, rights, wake-ups, conditions and the reconcile loop derive."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from ..api import names
from ..api.promotion import FINAL_PROMOTION_PHASES
from ..api.run import FINAL_PHASES
from ..decide.decision import Decision
from ..decide.policy import machine as policy
from ..decide.policy import refusal as policy_refusal
from ..decide.promotion import machine as promotion
from ..decide.promotion import refusal as promotion_refusal
from ..decide.refusal import Refusal
from ..decide.run import machine as run
from ..decide.run import refusal as run_refusal
from ..decide.version import machine as version
from ..decide.version import refusal as version_refusal
from . import fields
from .fields import at

Json = Mapping[str, Any]


class Kind(Enum):
    """The kinds that the operator touches: group, version, plural."""

    POLICY = ("finetune-operator.io", "v1alpha1", "finetunepolicies")
    RUN = ("finetune-operator.io", "v1alpha1", "finetuneruns")
    MODEL_VERSION = ("finetune-operator.io", "v1alpha1", "modelversions")
    PROMOTION = ("finetune-operator.io", "v1alpha1", "modelpromotions")
    JOB = ("batch", "v1", "jobs")
    DEPLOYMENT = ("apps", "v1", "deployments")
    POD = ("", "v1", "pods")
    POD_TEMPLATE = ("", "v1", "podtemplates")
    CONFIG_MAP = ("", "v1", "configmaps")
    EVENT = ("events.k8s.io", "v1", "events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Whom a change concerns: objects of `kind` whose `find_by` is the changed object's `value`.

    Both are the name of a reference (see KindEntry.references), or "name" for the object's own name.
    """

    kind: Kind
    find_by: str
    value: str
    always: bool = False
    """Also when what others look at (the digest) stayed the same."""
    open_only: bool = False
    """Not those that are final: nothing reaches them any more."""
    only: tuple[str, str] | None = None
    """Only when the changed object has that reference with that value."""
    when: Callable[[Hashable, Hashable], bool] | None = None
    """Only when the digests before and after say so; None stands for an object that is not there."""
    first: int | None = None
    """Only so many of them, by their digests and names."""
    then: tuple["Wake", ...] = ()
    """Who looks at the same through the objects found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What is needed of a kind that the operator reconciles."""

    name: str
    """The kind's name in manifests and Events."""
    decide: Callable[[Any], Decision[Any]]
    """From the view that cluster/observe.py makes of the object."""
    refused: Callable[[Any, str, str], Decision[Any]] | None = None
    """What is decided after an apply met a field of another manager: from the view, that manager and the message."""
    say_refused: Callable[[Any, Decision[Any], Refusal], Decision[Any]] | None = None
    """The decision, saying that a write of it was refused at the last try; None: only the status is ever written."""
    condition: str
    """Says whether the object can be worked on at all."""
    final_phases: frozenset[str] = frozenset()
    """In these nothing is decided any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindEntry:
    """All that the operator knows of a kind."""

    verbs: frozenset[str]
    """What the operator may do, and does."""
    subresources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    made_by: Literal["edit", "admin"] | None = None
    """Which of Kubernetes' roles for people lets them make and change objects of this kind, if any of ours does."""
    watch_labels: Mapping[str, str] | None = None
    """Labels that the API server filters by; None: not watched."""
    references: Mapping[str, Callable[[Json], Iterable[object]]] = field(default_factory=dict)
    """How an object names others, and what others find it by."""
    phase: Callable[[Json], str] = fields.phase
    since: Callable[[Json], str] = fields.no_phase
    """Since when it is in that phase."""
    outlives: str | None = None
    """The reference by which others find what it said when it is gone: they may look later than that."""
    digest: Callable[[Json], Hashable] = fields.nothing
    """What other objects look at: while it stays the same, a change wakes nobody else."""
    packed: bool = False
    """There are thousands of it: kept in memory as JSON text, a tenth of the size of parsed objects."""
    managed_fields: bool = False
    """Who manages a field is read of it, so that it is kept in memory."""
    wakes: tuple[Wake, ...] = ()
    reconciled: Reconciled | None = None


_READ: Final = frozenset(("get", "list", "watch"))
_OWNER: Final = {"owner": at("metadata", "labels", names.OWNER_UID_LABEL)}
_OURS: Final = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER}
"""Without this filter every Job of a cluster would come."""

_STATUS: Final = {"status": frozenset(("patch",))}

_OPEN_PROMOTIONS: Final = Wake(kind=Kind.PROMOTION, find_by="policy", value="name", always=True, open_only=True)
_OPEN_RUNS: Final = Wake(kind=Kind.RUN, find_by="policy", value="name", open_only=True)
_NEXT_RUNS: Final = Wake(kind=Kind.RUN, find_by="waits", value="policy", when=fields.steps_back, first=8)
"""One is enough to take the place; those that show how far they are stay true."""

# By uid: a name may belong to another by now.
_OWNERS: Final = tuple(
    Wake(kind=kind, find_by="uid", value="owner", always=True) for kind in (Kind.RUN, Kind.MODEL_VERSION, Kind.POLICY)
)

KINDS: Final[Mapping[Kind, KindEntry]] = {
    Kind.POLICY: KindEntry(
        verbs=_READ,
        subresources=_STATUS,
        made_by="admin",
        watch_labels={},
        references={
            "deployment": at("spec", "deployment"),
            "model": at("spec", "model"),
            "template": fields.templates,
            "uid": at("metadata", "uid"),
        },
        phase=fields.no_phase,
        digest=fields.policy_digest,
        wakes=(
            _OPEN_PROMOTIONS,
            _OPEN_RUNS,
            Wake(kind=Kind.MODEL_VERSION, find_by="model", value="model"),
            Wake(kind=Kind.POLICY, find_by="deployment", value="deployment"),  # the oldest one owns it
        ),
        reconciled=Reconciled(
            name="FineTunePolicy",
            decide=policy.decide,
            refused=policy.refused,
            say_refused=policy_refusal.say_refused,
            condition="Ready",
        ),
    ),
    Kind.RUN: KindEntry(
        verbs=_READ | {"create"},
        subresources=_STATUS,
        made_by="edit",
        watch_labels={},
        references={
            "policy": at("spec", "policy"),
            "uid": at("metadata", "uid"),
            "promotion": at("status", "promotion"),
            "holds": fields.policy_whose_place_it_has,
            "waits": fields.policy_that_it_waits_for,
            "asks": fields.asks,
            "changes": fields.policy_whose_live_it_changes,
            "rejected": fields.whose_candidate_was_rejected,
            "judged": fields.policy_whose_run_was_judged,
            "fired": fields.policy_that_fired_it,
            "underway": fields.policy_that_it_keeps_waiting,
            "rebuilds": fields.policy_that_gets_a_new_base,
            "past_first_job": fields.past(("", "Pending", "Preparing", "Suspended")),
        },
        outlives="rejected",
        digest=fields.standing,
        since=fields.run_since,
        packed=True,
        wakes=(
            _NEXT_RUNS,
            Wake(kind=Kind.RUN, find_by="asks", value="asks", when=fields.ends),
            Wake(kind=Kind.RUN, find_by="policy", value="policy", open_only=True, when=fields.lands),
            # With each phase a run leaves a finished Job behind, and its policy removes those that are too many.
            Wake(
                kind=Kind.POLICY, find_by="name", value="policy", only=("past_first_job", "true"), when=fields.moves_on
            ),
            Wake(kind=Kind.POLICY, find_by="name", value="fired", when=fields.moves_on),
            # A no outlives its run and the run's policy only where another policy of the model has heard it (R206).
            Wake(kind=Kind.POLICY, find_by="model", value="rejected", when=fields.is_rejected_anew),
        ),
        reconciled=Reconciled(
            name="FineTuneRun",
            decide=run.decide,
            say_refused=run_refusal.say_refused,
            condition="Accepted",
            final_phases=frozenset(FINAL_PHASES),
        ),
    ),
    Kind.MODEL_VERSION: KindEntry(
        verbs=_READ | {"create", "patch"},
        subresources=_STATUS,
        made_by="admin",
        watch_labels={},
        references={"model": at("spec", "model"), "uid": at("metadata", "uid"), "type": at("spec", "type")},
        digest=fields.version_digest,
        wakes=(
            Wake(
                kind=Kind.POLICY,
                find_by="model",
                value="model",
                # A new or verified base also lets waiting runs begin.
                then=(
                    _OPEN_PROMOTIONS,
                    Wake(kind=Kind.RUN, find_by="policy", value="name", open_only=True, only=("type", "Base")),
                ),
            ),
        ),
        reconciled=Reconciled(
            name="ModelVersion",
            decide=version.decide,
            say_refused=version_refusal.say_refused,
            condition="Verified",
        ),
    ),
    Kind.PROMOTION: KindEntry(
        verbs=_READ | {"create", "patch"},
        subresources=_STATUS,
        made_by="admin",
        watch_labels={},
        references={"policy": at("spec", "policy")},
        since=fields.since,
        digest=fields.promotion_digest,
        wakes=(
            Wake(kind=Kind.POLICY, find_by="name", value="policy"),
            Wake(kind=Kind.RUN, find_by="promotion", value="name"),
        ),
        reconciled=Reconciled(
            name="ModelPromotion",
            decide=promotion.decide,
            say_refused=promotion_refusal.say_refused,
            condition="Accepted",
            final_phases=frozenset(FINAL_PROMOTION_PHASES),
        ),
    ),
    Kind.JOB: KindEntry(
        verbs=_READ | {"create", "delete"},
        watch_labels=_OURS,
        references={**_OWNER, "finished_of": fields.finished_of, "finished_scan_of": fields.finished_scan_of},
        phase=fields.job_phase,
        packed=True,
        wakes=_OWNERS,
    ),
    Kind.POD: KindEntry(
        verbs=_READ,
        subresources={"log": frozenset(("get",))},
        watch_labels=_OURS,
        references=_OWNER,
        packed=True,
        wakes=_OWNERS,
    ),
    Kind.CONFIG_MAP: KindEntry(
        verbs=_READ | {"create"}, watch_labels=_OURS, references=_OWNER, packed=True, wakes=_OWNERS
    ),
    Kind.DEPLOYMENT: KindEntry(
        verbs=_READ | {"patch"},
        watch_labels={names.MANAGED_LABEL: "true"},
        phase=fields.no_phase,
        managed_fields=True,
        wakes=(Wake(kind=Kind.POLICY, find_by="deployment", value="name", always=True, then=(_OPEN_PROMOTIONS,)),),
    ),
    Kind.POD_TEMPLATE: KindEntry(
        verbs=_READ,
        watch_labels={},
        phase=fields.no_phase,
        wakes=(
            Wake(
                kind=Kind.POLICY,
                find_by="template",
                value="name",
                always=True,
                then=(_OPEN_PROMOTIONS, _OPEN_RUNS, Wake(kind=Kind.MODEL_VERSION, find_by="model", value="model")),
            ),
        ),
    ),
    Kind.EVENT: KindEntry(verbs=frozenset(("create",)), phase=fields.no_phase),
}

RECONCILED: Final = tuple(kind for kind, entry in KINDS.items() if entry.reconciled is not None)


def reconciled(kind: Kind) -> Reconciled:
    """Return what is needed of a kind that is reconciled; asking it of another is a bug."""
    entry = KINDS[kind].reconciled
    assert entry is not None, f"{kind} is not reconciled"
    return entry


def is_final(kind: Kind, phase: str) -> bool:
    """Tell whether nothing is decided any more of an object of that kind in that phase."""
    entry = KINDS[kind].reconciled
    return entry is not None and phase in entry.final_phases
