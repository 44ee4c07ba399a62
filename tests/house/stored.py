"""Objects as the last release stored them, and its CRDs where they differ (docs/develop/stored-objects.md)."""

import copy

from house.crds import Crd
from house.samples import DIGEST_A, Object, changed, sample


def old_version() -> Object:
    """Return a fine-tuned version with the last release's form of the figures."""
    return sample("ModelVersion of the last release")


def old_run() -> Object:
    """Return a run that the last release judged, and that waits for a review."""
    place = {"uri": "file:///artifacts/plan.json", "sha256": DIGEST_A}
    counts = dict.fromkeys(("pool", "fresh", "heldOut", "anchor", "new", "old", "train"), 60)
    gate = {"name": "regression", "verdict": "Review", "value": "1.500000"}
    status = {
        "phase": "InReview",
        "snapshot": "sample-document",
        "inputs": {"plan": place, **counts, "ratio": "20", "digests": {"pool": DIGEST_A}},
        "candidate": {**place, "bytes": 9},
        "checkpoint": place,
        "measurements": old_version()["spec"]["evidence"]["measurements"],
        "gates": [gate],
        "verdict": "Review",
        "evidence": {"digest": f"sha256:{DIGEST_A}", "uri": "file:///artifacts/manifest.json"},
    }
    return {**sample("FineTuneRun"), "status": status}


def old_policy(holdout: str | None = None) -> Object:
    """Return a policy that says `holdout` where the last release had it; with None it says nothing about it."""
    return changed(sample("FineTunePolicy of the last release"), ("spec", "gates", "newSamples", "holdout"), holdout)


def odd_policy() -> Object:
    """Return a policy with class names and a prefix that the last release took and this one refuses."""
    odd = changed(old_policy(), ("spec", "classes"), ["net, gross", " total"])
    return changed(odd, ("spec", "artifacts", "uri"), "file:///" + "a" * 1016)


def crd_of_the_last_release(crd: Crd) -> Object:
    """Return a CRD's manifest as the last release had it, in all that differs for what is stored."""
    manifest = copy.deepcopy(crd.manifest)
    (version,) = manifest["spec"]["versions"]
    parts = version["schema"]["openAPIV3Schema"]["properties"]
    spec, status = parts["spec"]["properties"], parts["status"]["properties"]
    match crd.kind:
        case "FineTunePolicy":
            del spec["classes"]["items"]["x-kubernetes-validations"]
            spec["artifacts"]["properties"]["uri"]["maxLength"] = 1024
            del spec["data"]["properties"]["pool"]["properties"]["holdout"]
            spec["gates"]["properties"]["newSamples"]["properties"]["holdout"]["default"] = "0"
            rules = parts["spec"]["x-kubernetes-validations"]
            parts["spec"]["x-kubernetes-validations"] = [rule for rule in rules if "holdout" not in rule["rule"]]
        case "FineTuneRun":
            del status["figures"]
        case "ModelVersion":
            evidence = spec["evidence"]
            del evidence["properties"]["figures"], evidence["x-kubernetes-validations"]
            evidence["required"] = ["digest", "verdict", "gates", "measurements"]
        case _:
            pass
    return manifest
