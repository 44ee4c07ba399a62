"""Serving settings held against each other: a model is judged by the settings that it is served with."""

from typing import Final

import msgspec

from ..api.policy import Serving
from .text import listed

SERVING_DIFFERS: Final = "ServingDiffers"


def serving_difference(version: Serving, policy: Serving) -> str | None:
    """Return in which settings a version differs from its policy, in words; None where they are the same."""
    fields = msgspec.structs.fields(Serving)
    pairs = ((field.encode_name, getattr(version, field.name), getattr(policy, field.name)) for field in fields)
    different = [f"{name} is {mine}, the policy says {theirs}" for name, mine, theirs in pairs if mine != theirs]
    return listed(different) if different else None
