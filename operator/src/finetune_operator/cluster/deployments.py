"""The Deployments that policies serve from, with what ails their pods, and how often these are looked at."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..api.policy import Policy
from ..decide.views import DeploymentView, Problem
from .deployment_views import deployment_view, pod_labels, pod_spec, serves
from .errors import ClusterError
from .kinds import Kind
from .pods_at_rest import LOOK_AGAIN, is_short, pods_of, why_short
from .port import Cluster, Object
from .serving_trouble import what_ails


@dataclass(frozen=True, slots=True)
class Target:
    """A policy's Deployment, with what ails the pods that it waits for.

    `deployment` is None where there is none. `poll` is when to look at the pods again; `read_anew`: all of it was read
    for this look.
    """

    deployment: DeploymentView | None
    poll: timedelta | None = None
    read_anew: bool = True


@dataclass(frozen=True, slots=True)
class _Ailing:
    deployment: str
    read_at: datetime
    trouble: Problem | None


class Deployments:
    """Reads Deployments and their pods.

    Remembers, by uid of the policy, what ailed pods at rest, and when that was read.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ailing: dict[str, _Ailing] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a policy that is gone."""
        self._ailing.pop(uid, None)

    async def view(self, namespace: str, name: str) -> DeploymentView | None:
        """Return the Deployment of that name, without its pods."""
        raw = await self._raw(namespace, name)
        return None if raw is None else deployment_view(raw)

    async def target(self, policy: Policy, now: datetime) -> Target:
        """Return the policy's Deployment with what ails the pods that it waits for.

        Pods are not watched, so they are asked for: by a flight with each look, at rest every LOOK_AGAIN, and never
        while all of them are available. A flight asks for the Deployment, too: a watch that tells nothing any more is
        no reason to go back, and none to call a version good.
        """
        namespace, flight, uid = policy.metadata.namespace, policy.status.in_flight, policy.metadata.uid
        raw = await self._raw(namespace, policy.spec.deployment, anew=flight is not None)
        short = raw is not None and flight is None and policy.status.live is not None and is_short(raw)
        if not short:
            self._ailing.pop(uid, None)
        if raw is None:
            return Target(None)
        deployment, labels = deployment_view(raw), pod_labels(raw)
        if short and deployment.managed and labels:
            trouble = await self._at_rest(namespace, uid, raw, now)
            return Target(replace(deployment, trouble=trouble), LOOK_AGAIN, read_anew=False)
        if flight is None:
            return Target(deployment, read_anew=False)
        awaited = flight.back if flight.phase == "Returning" else flight.to
        if awaited is None or deployment.settled or not labels:
            return Target(deployment)
        try:
            pods = await pods_of(self._cluster, namespace, raw)
        except ClusterError:
            return Target(deployment, read_anew=False)  # a way back that began goes on; none begins by time alone
        ails = what_ails((pod for pod in pods if serves(pod, awaited.sha256)), pod_spec(raw))
        return Target(replace(deployment, trouble=ails.problem or deployment.trouble, fault=ails.fault))

    async def _raw(self, namespace: str, name: str, *, anew: bool = False) -> Object | None:
        """Return the Deployment; one without the opt-in label is not watched, so it is asked for."""
        raw = None if anew else await self._cluster.get(Kind.DEPLOYMENT, namespace, name)
        return raw or await self._cluster.get(Kind.DEPLOYMENT, namespace, name, fresh=True)

    async def _at_rest(self, namespace: str, uid: str, deployment: Object, now: datetime) -> Problem | None:
        known = self._ailing.get(uid)
        is_of_it = known is not None and known.deployment == deployment["metadata"]["uid"]
        # What was read later than it is by now was read by a clock that was set back since.
        if known is None or not is_of_it or not timedelta() <= now - known.read_at < LOOK_AGAIN:
            try:
                pods = await pods_of(self._cluster, namespace, deployment)
            except ClusterError:
                return known.trouble if known is not None else None  # it only explains
            known = _Ailing(deployment["metadata"]["uid"], now, why_short(deployment, pods, now))
            self._ailing[uid] = known
        return known.trouble
