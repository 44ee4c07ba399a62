"""A scripted trainer: well-formed results with the figures that a story wants."""

import hashlib
from dataclasses import dataclass

from finetune_operator.cluster.port import Object

RESULT = "finetune-operator.io/step-result/v1"


def digest(text: str) -> str:
    """Return a made-up but stable SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


OTHER = "0.400000"
"""What base and live version find of the new samples."""

BOXES = 360
"""Labelled boxes of the new samples, all of one field, on 60 documents."""


def ratio_of(document: Object) -> str:
    """Return how many old pages the run asks for, for one that is outside the base."""
    asked = str(document["mixing"]["ratio"])
    return "20" if asked == "Auto" else asked


def mix_of(document: Object) -> int:
    """Return how many pages the mix of sixty has."""
    return 60 + min(int(60 * float(ratio_of(document))), 1500)


def compares(document: Object) -> bool:
    """Tell whether the run's policy asks for the third gate."""
    return "production" in document["gates"]


def scores(rate: str) -> Object:
    """Return Gate 2's figures for a rate; one of 50 detections is wrong."""
    matched, detections = hits(rate)
    return {
        "boxes": BOXES,
        "matched": matched,
        "rate": f"{matched / BOXES:.6f}",
        "documentRate": rate,
        "precision": f"{matched / detections:.6f}",
    }


def hits(rate: str) -> tuple[int, int]:
    """Return boxes found on the new samples, and detections."""
    matched = int(BOXES * float(rate))
    return matched, matched + matched // 50 + 1


def measured(artifact: Object, map50: str, pool: Object | None, fresh: Object | None) -> Object:
    """Return the figures of one model."""
    served = {"meanConfidence": "0.912345", "inferenceSeconds": "0.021400"}
    seen = {"pool": pool and {**pool}, "fresh": fresh and {**fresh}}
    return {"sha256": artifact["sha256"], "map50": map50, **seen, **served}


def columns(candidate: int, other: int, *, live: bool) -> Object:
    """Return a number of one field for each model."""
    return {"candidate": [candidate], "base": [other], "live": [other] if live else None}


def worst(second: str, candidate: tuple[int, int], other: tuple[int, int], *, live: bool, boxes: int = 600) -> Object:
    """Return a list of the one field that has labels: boxes found, and AP50 or detections."""
    return {
        "measured": 1,
        "field": [0],
        "boxes": [boxes],
        "matched": columns(candidate[0], other[0], live=live),
        second: columns(candidate[1], other[1], live=live),
    }


@dataclass(frozen=True, slots=True)
class Trainer:
    """Answers every step; `candidate` and `rate` are the figures that the gates see."""

    candidate: str = "0.970000"
    base: str = "0.971000"
    rate: str = "0.950000"
    lost: int = 0
    gained: int = 0
    documents: int = 100
    """Of production: what the candidate lost and gained of so many, where a policy asks for the third gate; alerts go
    by so many where pages are captured at all."""

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        """Return (exit code, termination message) of a step."""
        results = {
            "prepare": self._prepare,
            "train": self._train,
            "evaluate": self._evaluate,
            "verify": self._verify,
            "scan": self._scan,
        }
        message = {
            "schema": RESULT,
            "step": step,
            "owner": document["owner"]["uid"],
            "attempt": inputs["attempt"],
            "outcome": "Succeeded",
            "manifest": {
                "uri": f"{document['artifacts']['uri']}/attempt-{inputs['attempt']}/{step}/manifest.json",
                "sha256": digest(step),
            },
            "result": results[step](document, inputs),
        }
        if step == "scan":
            del message["manifest"]
        return 0, message

    def _scan(self, document: Object, inputs: Object) -> Object:
        """Count the pool that `_prepare` draws from, and a page of each stratum."""
        pages = {"random": 1, "uncertain": 1, "reported": 1, "oldest": "2026-11-01"}
        return {
            "pool": 60, "heldOut": 0, "withdrawn": 0, "outside": 60, "new": 0 if inputs["judged"] else 60,
            "corrected": 0, "byImage": 0, "listing": digest("listing"),
            "pages": document["data"]["production"] and pages,
            "waiting": document["data"]["production"] and {"pages": 2, "fields": [1] * len(document["classes"])},
            "reports": [{"week": "2026-W46", "documents": 1}], "answered": 100, "expiredDays": 0,
        }  # fmt: skip

    def _prepare(self, document: Object, inputs: Object) -> Object:
        """Draw all of a pool that stays as it is: what was judged once is not new again."""
        names = ("pool", "anchor", "testSet", "newSet")
        plan = digest(f"plan of {document['owner']['name']}")
        new = 0 if inputs["judged"] else 60
        return {
            "plan": {"uri": f"{document['artifacts']['uri']}/plan.json", "sha256": plan},
            "pool": 60, "heldOut": 0, "withdrawn": 0, "outside": 60, "new": new, "corrected": 0, "fresh": 60,
            "train": mix_of(document), "old": mix_of(document) - 60, "ratio": ratio_of(document),
            "anchor": 1500, "val": 100, "test": 200, "newSet": {"documents": 60, "boxes": 360, "fresh": 60},
            "digests": {name: digest(name) for name in (*names, *(("production",) if compares(document) else ()))},
            **({"production": {"documents": 100, "labelled": 0}} if compares(document) else {}),
        }  # fmt: skip

    def _train(self, document: Object, inputs: Object) -> Object:
        uri = f"{document['artifacts']['uri']}/attempt-{inputs['attempt']}/train"
        # The run's name stands in for its data: the same run makes the same bytes in every life of the operator.
        name = document["owner"]["name"]
        return {
            "artifact": {"uri": f"{uri}/model.onnx", "sha256": digest(name), "bytes": 1000, "format": "onnx"},
            "checkpoint": {"uri": f"{uri}/checkpoint.pt", "sha256": digest("checkpoint" + name)},
            "epochs": 10, "batch": 16, "images": mix_of(document), "seconds": 130,
            "device": "cpu", "losses": {"box": "1.1000"}, "resumed": [],
        }  # fmt: skip

    def _evaluate(self, document: Object, inputs: Object) -> Object:
        live = inputs.get("live")
        rate, other = scores(self.rate), scores(OTHER)
        models = {
            "candidate": measured(inputs["candidate"], self.candidate, rate, rate),
            "base": measured(document["base"]["artifact"], self.base, other, other),
            "live": live and measured(live["artifact"], self.base, other, other),
        }
        beside = live is not None
        new_floor = worst("detections", hits(self.rate), hits(OTHER), live=beside, boxes=BOXES)
        new_set = {"digest": digest("newSet"), "documents": 60, "fresh": 60, "trainedOn": True, "floor": new_floor}
        ap50 = [round(float(map50) * 1_000_000) for map50 in (self.candidate, self.base)]
        drops = worst("ap50", (590, ap50[0]), (590, ap50[1]), live=beside)
        floor = worst("detections", (590, 600), (590, 600), live=beside)
        measurement = self._measurement()
        test_set = {**measurement["testSet"], "drops": drops, "floor": floor}
        production = {"production": self._production()} if compares(document) else {}
        if "production" in document["data"]:
            production["baseline"] = {
                "documents": self.documents,
                "field": [0],
                "detected": [0],
                "confidence": "0.861200",
            }
        return {**measurement, "testSet": test_set, "newSet": new_set, "models": models, **production}

    def _production(self) -> Object:
        """Compare documents of production, of which each second was read rightly before."""
        before = self.documents // 2
        return {
            "digest": digest("production"), "drawn": 100, "vanished": 100 - self.documents,
            "documents": self.documents, "labelled": 0, "measured": 2,
            "field": [1, 0], "old": [before, before], "lost": [self.lost, 0], "gained": [self.gained, 0],
        }  # fmt: skip

    def _verify(self, document: Object, inputs: Object) -> Object:
        artifact = document["base"]["artifact"]
        models = {"base": measured(artifact, self.base, None, None)}
        return {**self._measurement(), "models": models, "artifact": {**artifact, "bytes": 1000, "format": "onnx"}}

    def _measurement(self) -> Object:
        return {
            "settings": digest("settings"),
            "evaluator": "finetune-trainer 0.1.0",
            "testSet": {"digest": digest("testSet"), "images": 200, "boxes": 600},
        }
