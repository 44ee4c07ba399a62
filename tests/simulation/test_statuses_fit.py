"""Whatever the operator writes in a story fits the CRDs, so a real API server would have taken it."""

import jsonschema
import pytest

from finetune_operator.cluster.kinds import Kind
from house.crds import crds

from .stories import STORIES, Story
from .test_crashes import reference

KINDS = {
    Kind.POLICY: "FineTunePolicy",
    Kind.RUN: "FineTuneRun",
    Kind.MODEL_VERSION: "ModelVersion",
    Kind.PROMOTION: "ModelPromotion",
}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_object_that_a_story_writes_fits_its_schema(story: Story) -> None:
    writes = [write for write in reference(story).server.log if write.kind in KINDS and write.after is not None]
    assert {write.kind for write in writes} == KINDS.keys()
    validators = {kind: jsonschema.Draft202012Validator(crds()[name].schema) for kind, name in KINDS.items()}
    misfits = [str(error) for write in writes for error in validators[write.kind].iter_errors(write.after)]
    assert misfits == []
