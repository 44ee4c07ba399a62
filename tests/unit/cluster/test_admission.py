"""A webhook that hangs holds two workers, not all; everybody else is refused in its words and comes again."""

import asyncio

import pytest

from finetune_operator.cluster.admission import ASK_AT_ONCE, Admission
from finetune_operator.cluster.errors import AdmissionUnavailable, Forbidden
from finetune_operator.cluster.kinds import Kind
from house.virtual_time import run_virtually

AWAY = 'failed calling webhook "vjob.kb.io": context deadline exceeded'


class Webhook:
    """An API server whose webhook hangs while it is down."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = True

    async def create(self) -> str:
        self.asked += 1
        await asyncio.sleep(0.02)
        if self.down:
            raise AdmissionUnavailable(AWAY)
        return "made"


async def many(admission: Admission, webhook: Webhook, count: int, namespace: str = "ml") -> list[object]:
    tries = (admission.create(Kind.JOB, namespace, webhook.create) for _ in range(count))
    return list(await asyncio.gather(*tries, return_exceptions=True))


def test_once_a_webhook_is_away_few_ask_and_the_others_are_refused_in_its_words() -> None:
    async def story() -> None:
        admission, webhook = Admission(), Webhook()
        await many(admission, webhook, 1)
        webhook.asked = 0
        refusals = await many(admission, webhook, 50)
        assert webhook.asked == ASK_AT_ONCE
        assert {str(refusal) for refusal in refusals} == {AWAY}
        assert all(isinstance(refusal, AdmissionUnavailable) for refusal in refusals)

    run_virtually(story())


def test_the_first_creation_that_goes_through_lets_all_others_through() -> None:
    async def story() -> None:
        admission, webhook = Admission(), Webhook()
        await many(admission, webhook, 5)
        webhook.down = False
        await many(admission, webhook, 1)
        assert await many(admission, webhook, 20) == ["made"] * 20

    run_virtually(story())


def test_another_namespace_and_another_refusal_are_not_held_back() -> None:
    async def story() -> None:
        admission, webhook, well = Admission(), Webhook(), Webhook()
        await many(admission, webhook, 1)
        well.down = False
        both = await asyncio.gather(many(admission, webhook, 5), many(admission, well, 10, "other"))
        assert both[1] == ["made"] * 10

        async def quota() -> str:
            raise Forbidden("exceeded quota")

        for _ in range(3):
            with pytest.raises(Forbidden, match="quota"):
                await admission.create(Kind.CONFIG_MAP, "ml", quota)

    run_virtually(story())
