"""The API server stores every status that the operator's types can say, and the status only by its subresource."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import inspect

from finetune_operator.api.model_version import VersionStatus
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.api.promotion import PromotionStatus
from finetune_operator.api.run import RunStatus
from finetune_operator.api.value import parse, plain
from house.api_server import ApiServer
from house.samples import sample

pytestmark = pytest.mark.control_plane

STATUSES: dict[str, Any] = {
    "FineTunePolicy": PolicyStatus,
    "FineTuneRun": RunStatus,
    "ModelVersion of a base": VersionStatus,
    "ModelPromotion": PromotionStatus,
}


_SIMPLE: dict[type[inspect.Type], Any] = {
    inspect.BoolType: True,
    inspect.DateTimeType: plain(datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)),
    inspect.IntType: 7,
    inspect.StrType: "text",
}


def full(kind: inspect.Type) -> Any:
    """Return JSON data of that type with every field set, to something else than its default."""
    match kind:
        case inspect.StructType(fields=fields):
            return {field.encode_name: full(field.type) for field in fields}
        case inspect.UnionType(types=types):
            return full(next(item for item in types if not isinstance(item, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return [full(item)]
        case inspect.DictType(value_type=value):
            return {"key": full(value)}
        case inspect.LiteralType(values=values):
            return values[-1]
        case _:
            return _SIMPLE[type(kind)]


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_with_every_field_set_is_stored_as_it_is(server: ApiServer, name: str) -> None:
    status = full(inspect.type_info(STATUSES[name]))
    assert plain(parse(status, STATUSES[name])).keys() == status.keys()
    manifest = sample(name)
    created = server.create(manifest)
    assert created.accepted, created.message
    try:
        answer = server.merge_status(manifest, status)
    finally:
        server.delete(manifest)
    assert answer.accepted, answer.message
    assert answer.body["status"] == status
    assert answer.body["metadata"]["generation"] == 1


@pytest.mark.parametrize("name", STATUSES)
def test_people_who_write_the_object_cannot_write_its_status(server: ApiServer, name: str) -> None:
    manifest = {**sample(name), "status": {"observedGeneration": 7}}
    answer = server.create(manifest, dry_run=True)
    assert answer.accepted, answer.message
    assert "status" not in answer.body
