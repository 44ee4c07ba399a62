"""What must not change cannot be changed, added or removed; what may change, can. Made from the schema."""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from house.api_server import Answer, ApiServer
from house.crds import crds, leaves, properties
from house.samples import SAMPLES, Object, at, changed, sample

pytestmark = pytest.mark.control_plane

EVIDENCE = "sha256:" + "a" * 64

Path = tuple[str, ...]

MUTABLE = {"FineTuneRun": {"suspend", "review"}}
IMMUTABLE = {"FineTunePolicy": {"model", "deployment", "classes"}}
"""Of a policy everything else, of a run nothing else can change; versions and promotions are immutable."""


_BOUND = {
    ("base",),
    ("lineage",),
    ("evidence",),
    ("evidence", "figures"),
    ("evidence", "measurements"),
    ("data", "production"),
}
"""A fine-tune cannot exist without them, a base not with them: as a whole they can neither be added nor removed.

Nor can captured pages, alone, where the third gate compares them.
"""


def _is_mutable(kind: str, field: str) -> bool:
    if kind in IMMUTABLE:
        return field not in IMMUTABLE[kind]
    return field in MUTABLE.get(kind, set())


class Kept:
    """The object that is stored. Edits are dry runs: what one of them began with serves the next, too."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._manifest: Object | None = None
        self._stored: Object = {}

    def stored(self, manifest: Object, *, anew: bool = False) -> Object:
        """Return this object as it is stored; `anew` for one whose status is going to be written."""
        if anew or manifest != self._manifest:
            self.clear()
            created = self._server.create(manifest)
            assert created.accepted, created.message
            self._manifest, self._stored = manifest, created.body
        return self._stored

    def clear(self) -> None:
        """Leave nothing."""
        if self._manifest is not None:
            self._server.delete(self._manifest)
            self._manifest = None


@pytest.fixture(scope="module")
def kept(server: ApiServer) -> Iterator[Kept]:
    kept = Kept(server)
    yield kept
    kept.clear()


def _cases(*, mutable: bool) -> Iterator[object]:
    """Yield the edits of each sample: first those that begin with all of it, then those that add a field."""
    for name in SAMPLES:
        cases = list(_cases_of(name, mutable=mutable))
        yield from sorted(cases, key=lambda case: ": add " in str(case.id))


def _cases_of(name: str, *, mutable: bool) -> Iterator[ParameterSet]:
    manifest, other = sample(name), sample(name, first=False)
    for path, schema in properties(crds()[manifest["kind"]].spec):
        if _is_mutable(manifest["kind"], path[0]) != mutable or at(manifest["spec"], path) is None:
            continue
        for verb, before, after in _edits(manifest, other, ("spec", *path), whole="properties" in schema):
            yield pytest.param(before, after, path[0], id=f"{name}: {verb} {'.'.join(path)}")


def _edits(manifest: Object, other: Object, path: Path, *, whole: bool) -> Iterator[tuple[str, Object, Object]]:
    """Yield change, remove and add of one field, as the object before and after."""
    without = changed(manifest, path, None)
    if not whole and at(other, path) != at(manifest, path):
        yield "change", manifest, changed(manifest, path, at(other, path))
    if _is_valid_alone(manifest, path):
        yield "add", without, manifest
        yield "remove", manifest, without


def _is_valid_alone(manifest: Object, path: Path) -> bool:
    """An object without the field can exist, as another one: it is not required, nor has it that value by default."""
    schema = crds()[manifest["kind"]].schema
    for name in path[:-1]:
        schema = schema["properties"][name]
    is_default = schema["properties"][path[-1]].get("default") == at(manifest, path)
    return path[-1] not in schema.get("required", ()) and not is_default and path[1:] not in _BOUND


def test_the_samples_have_every_field_of_the_schemas() -> None:
    for kind, crd in crds().items():
        present = {
            path
            for name in SAMPLES
            for path, _ in leaves(crd.spec)
            if sample(name)["kind"] == kind and at(sample(name)["spec"], path) is not None
        }
        assert present == {path for path, _ in leaves(crd.spec)}, kind


def _is_changeable(path: Path) -> bool:
    return path not in {("mode",), ("artifact", "format"), ("type",)}  # one value, or bound to another field


def test_the_two_samples_differ_in_every_field() -> None:
    for name in SAMPLES:
        one, other = sample(name), sample(name, first=False)
        for path, _ in leaves(crds()[one["kind"]].spec):
            if at(one["spec"], path) is not None and _is_changeable(path):
                assert at(one["spec"], path) != at(other["spec"], path), f"{name}: {path}"


@pytest.mark.parametrize(("before", "after", "field"), tuple(_cases(mutable=False)))
def test_an_immutable_field_refuses(server: ApiServer, kept: Kept, before: Object, after: Object, field: str) -> None:
    answer = server.replace(_on(kept.stored(before), after), dry_run=True)
    assert answer.status == 422, "the edit was accepted"
    assert f"spec.{field} is immutable" in answer.message
    assert any(cause.startswith(f"spec.{field}: ") and "create another" in cause for cause in answer.causes)


@pytest.mark.parametrize(("before", "after", "field"), tuple(_cases(mutable=True)))
def test_a_mutable_field_can_be_edited(
    server: ApiServer, kept: Kept, before: Object, after: Object, field: str
) -> None:
    answer = server.replace(_on(kept.stored(before), after), dry_run=True)
    assert answer.accepted, answer.message
    assert answer.body["metadata"]["generation"] == 2


def test_a_fine_tune_does_not_become_a_rebuild(server: ApiServer, kept: Kept) -> None:
    """A rebuild has no ratio, so the samples' other edits do not have this one."""
    manifest = changed(sample("FineTuneRun"), ("spec", "mixing", "ratio"), "Auto")
    stored = kept.stored(manifest, anew=True)
    answer = server.replace(_on(stored, changed(manifest, ("spec", "mode"), "Rebuild")), dry_run=True)
    assert answer.status == 422, "the edit was accepted"
    assert answer.causes == ("spec.mode: Invalid value: spec.mode is immutable; create another FineTuneRun",)


@pytest.mark.row("R208")
def test_a_persons_no_is_not_edited_into_a_yes_to_the_same_evidence(server: ApiServer, kept: Kept) -> None:
    """Who approves may not have seen it, nor may the operator, which was away between the two."""
    manifest = sample("FineTuneRun", first=False)
    stored = kept.stored(manifest, anew=True)
    evidence, other = manifest["spec"]["review"]["evidence"], "sha256:" + "e" * 64
    answers = {
        (decision, seen): server.replace(_on(stored, _reviewed(manifest, decision, seen)), dry_run=True)
        for decision in ("Approve", "Reject")
        for seen in (evidence, other)
    }
    refused = answers.pop(("Approve", evidence))
    assert manifest["spec"]["review"]["decision"] == "Reject"
    assert refused.status == 422
    assert "nothing overrules a person's no; create another FineTuneRun, with another seed" in refused.message
    assert all(answer.accepted for answer in answers.values()), "a no that names other evidence can be mended"


@pytest.mark.row("R212")
@pytest.mark.parametrize("is_void", [False, True], ids=["of this round", "of an earlier one"])
def test_a_persons_no_to_what_the_run_made_stays_in_the_run(server: ApiServer, kept: Kept, *, is_void: bool) -> None:
    """Taken out and put in again as a yes, it had never been said: nothing else has it, until the operator looks."""
    manifest = sample("FineTuneRun", first=False)
    evidence, other = manifest["spec"]["review"]["evidence"], "sha256:" + "e" * 64
    now, void = (other, [evidence]) if is_void else (evidence, [])
    kept.stored(manifest, anew=True)
    known = server.merge_status(manifest, {"evidence": {"digest": now, "uri": "s3://b/e"}, "earlierEvidence": void})
    assert known.accepted, known.message
    edits = {
        "removed": changed(manifest, ("spec", "review"), None),
        "of other evidence": _reviewed(manifest, "Reject", "sha256:" + "d" * 64),
        "a yes to other evidence": _reviewed(manifest, "Approve", other),
        "said by somebody else, too": _reviewed(manifest, "Reject", evidence),
        "put off": changed(manifest, ("spec", "suspend"), not manifest["spec"]["suspend"]),
    }
    answers = {name: server.replace(_on(known.body, edit), dry_run=True) for name, edit in edits.items()}
    taken = [name for name, answer in answers.items() if answer.accepted]
    assert taken == ["said by somebody else, too", "put off"]
    assert all("it stays, with its evidence" in answer.message for answer in answers.values() if not answer.accepted)


@pytest.mark.row("R251")
@pytest.mark.parametrize(
    ("status", "knows"),
    [
        ({}, None),
        ({"evidence": {"digest": EVIDENCE, "uri": "s3://b/e"}}, EVIDENCE),
        ({"earlierEvidence": [EVIDENCE]}, EVIDENCE),
        ({"phase": "Failed", "finishedAt": "2026-01-01T00:00:00Z"}, ""),
    ],
    ids=["nothing is judged", "in review", "measured again", "over without evidence"],
)
def test_a_no_to_evidence_that_the_run_does_not_have_is_refused(
    server: ApiServer, kept: Kept, status: Object, knows: str | None
) -> None:
    """Nobody would hear it; before anything is judged it may be that of a record which is taken over."""
    manifest = changed(sample("FineTuneRun", first=False), ("spec", "review"), None)
    kept.stored(manifest, anew=True)
    other = "sha256:" + "e" * 64
    there = server.merge_status(manifest, status)
    assert there.accepted, there.message
    said = {
        (decision, seen): server.replace(_on(there.body, _reviewed(manifest, decision, seen)), dry_run=True)
        for decision in ("Approve", "Reject")
        for seen in (EVIDENCE, other)
    }
    refused = {seen for (decision, seen), answer in said.items() if decision == "Reject" and not answer.accepted}
    assert refused == (set() if knows is None else {EVIDENCE, other} - {knows})
    assert all(answer.accepted for (decision, _), answer in said.items() if decision == "Approve"), "it acts in review"
    for answer in said.values():
        assert answer.accepted or "copy .status.evidence.digest" in answer.message


@pytest.mark.row("R251")
def test_a_no_that_was_stored_goes_on_being_stored(server: ApiServer, kept: Kept) -> None:
    """One that an earlier release took keeps nobody from writing the status, nor from suspending the run."""
    manifest = sample("FineTuneRun", first=False)
    kept.stored(manifest, anew=True)
    known = server.merge_status(manifest, {"evidence": {"digest": "sha256:" + "e" * 64, "uri": "s3://b/e"}})
    assert known.accepted, known.message
    edit = changed(manifest, ("spec", "suspend"), not manifest["spec"]["suspend"])
    answer = server.replace(_on(known.body, edit), dry_run=True)
    assert answer.accepted, answer.message


def _reviewed(manifest: Object, decision: str, evidence: str) -> Object:
    review = {**manifest["spec"].get("review", {}), "decision": decision, "evidence": evidence, "by": "bo@example.com"}
    return {**manifest, "spec": {**manifest["spec"], "review": review}}


def _on(stored: Object, after: Object) -> Object:
    """Return `after` as an edit of the stored object."""
    return {**after, "metadata": {**after["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}}


@pytest.mark.row("V88")
def test_names_are_appended_to_a_policys_classes_and_what_is_there_stays(server: ApiServer, kept: Kept) -> None:
    """With the longest list that there can be: rules have a budget."""
    names = [f"field {number}".ljust(63, "x") for number in range(79)]
    manifest = changed(sample("FineTunePolicy"), ("spec", "classes"), names)
    stored = kept.stored(manifest, anew=True)

    def edited(classes: list[str]) -> Answer:
        return server.replace(_on(stored, changed(manifest, ("spec", "classes"), classes)), dry_run=True)

    assert edited([*names, "iban"]).accepted
    for other in (names[:-1], names[::-1], ["iban", *names], [*names[:-1], "iban"], [*names[1:], "iban", names[0]]):
        answer = edited(other)
        assert answer.status == 422, "the edit was accepted"
        assert "spec.classes is immutable but for names behind the last one" in answer.message
