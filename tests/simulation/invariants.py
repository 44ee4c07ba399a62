"""Safety, checked on the API server's write log: what must never happen, whatever the operator lived through."""

from collections import Counter

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import Write, is_intact
from .stories import World

KEY = "finetune-operator.io/"


def violations(world: World) -> list[str]:
    """Return every promise that the write log breaks; empty when all hold."""
    log = world.server.log
    return [
        *_one_job_per_attempt(log),
        *_flips_have_evidence(world),
        *_epochs_grow(log),
        *_final_is_final(log),
        *_one_flight_at_a_time(log),
        *_blamed_on_evidence(log),
        *_brakes_at_once(log),
        *_owned_keys(log),
        *_judgements_counted_once(world),
        *world.refused_events,
        *(f"{write.kind.value[2]} {write.name} was changed in memory" for write in log if not is_intact(write)),
    ]


def judgements(log: list[Write]) -> int:
    """Return how many judgements the statuses of runs have shown; one that is taken over was made before."""
    runs = (write for write in log if write.kind is Kind.RUN and write.after is not None)
    statuses = ((write.after or {}).get("status") or {} for write in runs)
    judged = [status for status in statuses if "evidence" in status]
    own = {status["evidence"]["digest"] for status in judged if not (status.get("adopted") or {}).get("evidence")}
    return len(own)


def _judgements_counted_once(world: World) -> list[str]:
    counted = sum(action.metric == "finetune_verdicts" for action in world.metrics)
    made = judgements(world.server.log)
    # A crash between the status and its metric loses the count, and nothing repeats it.
    return [] if made - world.crashes <= counted <= made else [f"{counted} verdicts were counted of {made}"]


def _one_job_per_attempt(log: list[Write]) -> list[str]:
    made: Counter[tuple[str, ...]] = Counter()
    for write in log:
        if write.kind is Kind.JOB and write.verb == "create" and write.after is not None:
            labels = write.after["metadata"]["labels"]
            args = write.after["spec"]["template"]["spec"]["containers"][0]["args"]
            collects = labels.get(KEY + "collect", "")
            made[(labels[KEY + "owner-uid"], args[1], args[3], collects)] += 1
    return [f"{count} Jobs for one attempt: {what}" for what, count in made.items() if count > 1]


def served(item: Object | None) -> tuple[str, str] | None:
    """Return version and digest that a Deployment serves, or None."""
    annotations = ((item or {}).get("spec", {}).get("template", {}).get("metadata", {}) or {}).get("annotations") or {}
    version, sha = annotations.get(KEY + "model-version"), annotations.get(KEY + "artifact-sha256")
    return (str(version), str(sha)) if version else None


def _flips_have_evidence(world: World) -> list[str]:
    """Every digest that starts to be served was measured and passed, was approved by that evidence, or is the base."""
    broken = []
    for index, write in enumerate(world.server.log):
        if write.kind is not Kind.DEPLOYMENT or write.verb != "apply" or served(write.before) == served(write.after):
            continue
        now = served(write.after)
        if now is None:
            continue
        earlier = world.server.log[:index]
        versions = [w.after for w in earlier if w.kind is Kind.MODEL_VERSION and w.after is not None]
        same = [v for v in versions if v["spec"]["version"] == now[0] and v["spec"]["artifact"]["sha256"] == now[1]]
        if not same:
            broken.append(f"flip to {now} without a recorded ModelVersion of that digest")
            continue
        broken += [f"flip to {now[0]}: {why}" for why in _unjudged(same[-1], earlier)]
    return broken


def _unjudged(version: Object, earlier: list[Write]) -> list[str]:
    if version["spec"]["type"] == "Base" and "evidence" not in version["spec"]:
        return [] if (version.get("status") or {}).get("map50") else ["a base that nobody measured"]
    evidence = version["spec"].get("evidence") or {}
    gates = evidence.get("gates") or []
    if gates and all(g["verdict"] == "Pass" for g in gates) and evidence.get("verdict") == "Pass":
        return []
    promotions = [w.after for w in earlier if w.kind is Kind.PROMOTION and w.after is not None]
    approvals = [
        p["spec"].get("approval") or {} for p in promotions if p["spec"]["version"] == version["spec"]["version"]
    ]
    approved = any(a.get("evidence") == evidence.get("digest") for a in approvals)
    return (
        []
        if approved and evidence.get("verdict") == "Review"
        else [f"verdict {evidence.get('verdict')} without a matching approval"]
    )


def _epochs_grow(log: list[Write]) -> list[str]:
    """Of each Deployment, by name: one that is made anew goes on where the one before it was."""
    epochs: dict[str, list[int]] = {}
    for write in log:
        flips = write.kind is Kind.DEPLOYMENT and write.verb == "apply" and served(write.before) != served(write.after)
        if flips and write.after is not None:
            epoch = (write.after["metadata"].get("annotations") or {}).get(KEY + "epoch", 0)
            epochs.setdefault(write.name, []).append(int(epoch))
    return [f"epochs of {name} do not grow: {had}" for name, had in epochs.items() if had != sorted(set(had))]


def _one_flight_at_a_time(log: list[Write]) -> list[str]:
    """A policy's record of a flight ends before another begins."""
    broken = []
    for write in log:
        if write.kind is not Kind.POLICY or write.verb != "patch_status":
            continue
        before, after = (((item or {}).get("status") or {}).get("inFlight") for item in (write.before, write.after))
        if before and after and before["promotionUid"] != after["promotionUid"]:
            broken.append(f"flight of {after['promotion']} begun in the middle of that of {before['promotion']}")
    return broken


def _blamed_on_evidence(log: list[Write]) -> list[str]:
    """A version is quarantined only after the server's own container failed in a pod of it; and that is named.

    Where a backup was restored, the version's record says that it did.
    """
    broken, failed = list[str](), set[str]()
    for write in log:
        if write.kind is Kind.MODEL_VERSION and write.verb == "create" and write.after is not None:
            failed |= _recorded_failure(write.after)
        if write.kind is Kind.POD and write.after is not None and _server_failed(write.after):
            failed.add(str((write.after["metadata"].get("annotations") or {}).get(KEY + "artifact-sha256")))
        if write.kind is Kind.POLICY and write.after is not None:
            broken += [
                f"{entry['version']} is blamed for nothing that its server did"
                for entry in (write.after.get("status") or {}).get("quarantined", ())
                if entry["sha256"] not in failed or "'server'" not in entry.get("evidence", "")
            ]
    return broken


def _recorded_failure(version: Object) -> set[str]:
    record = (version["metadata"].get("annotations") or {}).get(KEY + "service-record", "")
    return {version["spec"]["artifact"]["sha256"]} if '"quarantined"' in record else set()


def _server_failed(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(c["name"] == "server" and not c["ready"] and "terminated" in c["state"] for c in statuses)


def _brakes_at_once(log: list[Write]) -> list[str]:
    """After a promotion back from what is in flight, the operator's next word on the policy goes back."""
    broken, policies, pulled = [], dict[str, Object](), dict[str, str]()
    for write in log:
        if write.kind is Kind.POLICY and write.after is not None:
            policies[write.name] = write.after.get("status") or {}
            flight, by = policies[write.name].get("inFlight"), pulled.pop(write.name, "")
            if by and write.verb == "patch_status" and flight is not None and flight["phase"] != "Returning":
                broken.append(f"{by} did not end the flight at once: {flight['phase']}")
        elif write.kind is Kind.PROMOTION and write.verb == "create" and write.after is not None:
            policy = write.after["spec"]["policy"]
            if _goes_back(write.after["spec"], policies.get(policy, {})):
                pulled[policy] = write.name
    return broken


def _goes_back(spec: Object, policy: dict[str, Object]) -> bool:
    flight = policy.get("inFlight")
    if flight is None or flight["phase"] == "Returning" or spec.get("from") != flight["to"]["version"]:
        return False
    return bool(spec["version"] == (flight.get("back") or {}).get("version"))


def _final_is_final(log: list[Write]) -> list[str]:
    final: dict[str, str] = {}
    broken = []
    for write in log:
        if write.kind is Kind.RUN and write.after is not None:
            status = write.after.get("status") or {}
            finished = any(c["type"] == "Finished" and c["status"] == "True" for c in status.get("conditions", ()))
            if write.uid in final and status.get("phase") != final[write.uid]:
                broken.append(f"run ended {final[write.uid]} and then became {status.get('phase')}")
            if finished:
                final[write.uid] = str(status.get("phase"))
    return broken


def _owned_keys(log: list[Write]) -> list[str]:
    """The operator changes nothing on a Deployment but its four annotations."""
    broken = []
    for write in log:
        if write.kind is Kind.DEPLOYMENT and write.actor == "finetune-operator" and write.before and write.after:
            changed = sorted(_leaves(write.before).items() ^ _leaves(write.after).items())
            broken += [f"foreign field {path} changed" for path, _ in changed if "/annotations/" + KEY not in path]
    return broken


def _leaves(item: Object) -> dict[str, str]:
    leaves: dict[str, str] = {}

    def walk(node: object, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}/{key}")
        else:
            leaves[path] = repr(node)

    walk({k: v for k, v in item.items() if k != "status"}, "")
    ignored = ("/metadata/resourceVersion", "/metadata/generation", "/metadata/managedFields")
    return {path: value for path, value in leaves.items() if not path.startswith(ignored)}
