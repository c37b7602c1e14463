"""A platform of the user's own that cannot be loaded, and one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.own import SOURCE
from controller.adapters.own.platform import OwnPlatforms
from controller.adapters.own.settings import OwnAccess
from controller.config.platform import Opening
from controller.core.ports import NotSent, Unavailable
from controller.core.problems import ConfigurationError
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.contract.stages import WORKER
from tests.support.scene import intent_to

MODULE = """
from controller.core.ports import NotSent, Role, Source, Unavailable

class Failing:
    source = Source(Role.PLATFORM, "Theirs")
    def __init__(self, opening): self.policies = [opening.policy]
    def serve(self, policy): self.policies.append(policy)
    def requests(self): return None
    async def close(self): pass
    async def observe(self, services): raise Unavailable(self.source, "is away")
    async def scale(self, service, change, observed): raise NotSent(self.source, "is away")

class Broken:
    def __init__(self, opening): raise ZeroDivisionError("of its own")
"""


def policy(*uses: str) -> Policy:
    workers = {f"w{at}": {**WORKER, "platform": {"use": use, "target": "t"}} for at, use in enumerate(uses)}
    return Policy.model_validate({"workers": workers})


def opened(*uses: str) -> OwnPlatforms:
    return OwnPlatforms(Opening(OwnAccess({}), policy(*uses), SystemClock(), lambda _: True, 1.0, Masker()))


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("use", ["no_such_module:Platform", "theirs:NoSuchClass", "theirs:Broken", "no-entry-point"])
def test_a_class_that_cannot_be_loaded_is_refused_at_the_start(theirs: None, use: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        opened(use)
    assert f"{use} cannot be loaded" in str(error.value)


async def test_one_that_a_later_policy_names_and_that_cannot_be_loaded_is_unavailable(theirs: None) -> None:
    platform = opened("theirs:Failing")
    platform.serve(policy("theirs:Failing", "theirs:Broken"))
    readings = await platform.observe(["platform:theirs:Broken/t"])
    reading: Any = readings["platform:theirs:Broken/t"]
    assert isinstance(reading, Unavailable)
    assert "of its own" in reading.text


async def test_its_faults_are_named_as_those_of_one_dependency_and_say_whose_they_are(theirs: None) -> None:
    platform, key = opened("theirs:Failing"), "platform:theirs:Failing/t"
    reading: Any = (await platform.observe([key]))[key]
    assert (reading.source, reading.text) == (SOURCE, "theirs:Failing: is away")
    with pytest.raises(NotSent, match="theirs:Failing: is away"):
        await platform.scale(key, intent_to(1), reading)
