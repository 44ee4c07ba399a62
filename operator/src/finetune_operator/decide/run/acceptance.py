"""What a run needs before anything starts: a chain of checks that return what is wrong and how to mend it."""

from dataclasses import dataclass

from ...api.meta import find
from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ..bases import bases_of, default_base, loses_fields, why_no_default
from ..classes import begins, lacking
from ..resources import impossible, misfit
from ..serving import SERVING_DIFFERS, serving_difference
from ..starts import unfit_start
from ..templates import evaluating_role, evaluating_template, training_role, usable_template
from ..text import appending, listed
from ..views import Problem
from .view import RunView


@dataclass(frozen=True, slots=True)
class Accepted:
    """The policy and the base that the snapshot is made from."""

    policy: Policy
    base: ModelVersion


@dataclass(frozen=True, slots=True)
class Waits:
    """Something is missing that people can still bring."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Refused:
    """The run can never be carried out as it is."""

    problem: Problem


def accept(view: RunView) -> Accepted | Waits | Refused:
    """Check policy, base and templates, in this order."""
    policy = usable_policy(view)
    if isinstance(policy, Problem):
        return Waits(policy)
    base = _base(view, policy)
    if not isinstance(base, ModelVersion):
        return base
    rebuilds = view.run.spec.rebuilds
    unfit = _unfit(base, policy) or loses_fields(base, view.versions, policy, rebuilds=rebuilds)
    unfit = unfit or (unfit_start(policy, view.versions) if rebuilds else None)
    if unfit:
        return Refused(unfit)
    differs = _served_otherwise(base, policy)
    if differs:
        return Waits(differs)
    for template in (
        usable_template("cpu", view.cpu_template, policy),
        usable_template(training_role(view.run.spec), view.train_template, policy),
        usable_template(evaluating_role(policy), evaluating_template(view, policy), policy),
    ):
        if isinstance(template, Problem):
            return Waits(template)
    return _unfit_resources(view) or Accepted(policy, base)


def _unfit_resources(view: RunView) -> Waits | Refused | None:
    """Return that no pod can have the resources which the run asks for (R52)."""
    asked, template = view.run.spec.resources, view.train_template
    problem = impossible(asked)
    if problem is not None:
        return Refused(problem)
    problem = misfit(template.resources, asked, name=template.name) if template is not None else None
    return None if problem is None else Waits(problem)


def usable_policy(view: RunView) -> Policy | Problem:
    """Return the run's policy, or why it cannot be worked with yet."""
    name, policy = view.run.spec.policy, view.policy
    if policy is None or policy.metadata.deletion_timestamp is not None:
        return policy_not_found(name, view.run.metadata.namespace)
    ready = find(policy.status.conditions, "Ready")
    if ready is None or not was_looked_at(policy):
        return policy_not_looked_at(policy)
    if ready.status != "True":
        return Problem("PolicyNotReady", f"FineTunePolicy {name!r} is not ready: {ready.reason}: {ready.message}")
    return policy


def was_looked_at(policy: Policy) -> bool:
    """Tell whether the operator has looked at the policy's Deployment since the policy is there."""
    ready = find(policy.status.conditions, "Ready")
    return policy.status.observed_generation != 0 and ready is not None and ready.reason != "NotYet"


def live_is_unknown(policy: Policy) -> Problem | None:
    """Return that the policy cannot tell yet what is live: it is new, or was made anew (R155); None where it can."""
    if not was_looked_at(policy):
        return policy_not_looked_at(policy)
    if policy.status.remembers:
        return None
    name, hold, target = policy.metadata.name, policy.status.hold, find(policy.status.conditions, "TargetReady")
    if hold is not None and hold.reason == "NotRolledOut":
        why = f"({hold.reason}); its status.hold says what it waits for"
    elif target is not None and target.status == "False":
        why = f"({target.reason}): {target.message}"  # restores bring policies back before their Deployments
    else:
        return None
    return Problem("PolicyNotReady", f"FineTunePolicy {name!r} does not know yet what is live {why}")


def policy_not_looked_at(policy: Policy) -> Problem:
    """Return the words for a policy that does not know yet what is live."""
    return Problem("PolicyNotReady", f"waiting for FineTunePolicy {policy.metadata.name!r} to be looked at")


def policy_not_found(name: str, namespace: str, model: str = "") -> Problem:
    """Return the words for a policy that is not there, or is of another model than a run that began."""
    of_model = f" of model {model!r}" if model else ""
    text = f"waiting for FineTunePolicy {name!r}{of_model} in namespace {namespace!r}; create it"
    return Problem("PolicyNotFound", f"{text}, or make a run that names another")


def _base(view: RunView, policy: Policy) -> ModelVersion | Waits | Refused:
    """Return the base that the run names, or the policy's default."""
    model, asked = policy.spec.model, view.run.spec.base_version
    versions = [v for v in view.versions if v.spec.model == model and v.metadata.deletion_timestamp is None]
    known = listed(sorted(v.spec.version for v in bases_of(versions, model)))
    if asked is None:
        return default_base(versions, policy) or Waits(why_no_default(versions, policy))
    # A base of that name goes first: names are unique only by convention.
    named = sorted((v for v in versions if v.spec.version == asked), key=lambda v: v.spec.type != "Base")
    if not named:
        message = (
            f"model {model!r} has no base {asked!r}; known bases: {known}; import it, or make a run that names one"
        )
        return Waits(Problem("BaseNotFound", message))
    if named[0].spec.type != "Base":
        message = f"{asked} is a fine-tune, and a fine-tune never starts from a fine-tune; name a base: {known}"
        return Refused(Problem("BaseIsFineTuned", message))
    return named[0]


def _unfit(base: ModelVersion, policy: Policy) -> Problem | None:
    """Return why this base can never be used under this policy."""
    name, digest = base.spec.version, base.spec.artifact.sha256
    quarantined = policy.status.quarantine_of(digest)
    if quarantined:
        message = f"{name} is quarantined ({quarantined.reason}); make a run that names another base"
        return Problem("BaseQuarantined", message)
    if not begins(policy.spec.classes, base.spec.classes):
        return Problem("ClassListDiffers", _difference(base, policy))
    return None


def _served_otherwise(base: ModelVersion, policy: Policy) -> Problem | None:
    """Return that the base is not served as its fine-tunes would be, so that measuring both alike says little (R83)."""
    differs = serving_difference(base.spec.serving, policy.spec.serving)
    if differs is None:
        return None
    message = (
        f"{base.spec.version} is served otherwise than policy {policy.metadata.name!r} says: {differs}; set the "
        "policy's spec.serving to the base's, or import the checkpoint as another base with the policy's settings"
    )
    return Problem(SERVING_DIFFERS, message)


def _difference(base: ModelVersion, policy: Policy) -> str:
    ours, theirs = policy.spec.classes, base.spec.classes
    missing = [name for name in ours if name not in theirs]
    extra = [name for name in theirs if name not in ours]
    what = (
        f"missing in the base: {listed(missing)}; only in the base: {listed(extra)}"
        if missing or extra
        else "the same names in another order, and the order is the class index"
    )
    append = lacking(ours, theirs)
    remedy = appending(append) if append else "import a base with the policy's classes, or make a policy for these"
    return f"the class list of {base.spec.version} differs from the policy's: {what}; {remedy}"
