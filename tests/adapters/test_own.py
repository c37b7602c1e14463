"""A platform of the user's own that cannot be loaded, and one that fails."""

from __future__ import annotations

import asyncio
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.own import SOURCE
from controller.adapters.own.platform import LONGEST_S, OwnPlatforms
from controller.adapters.own.settings import OWN, OwnAccess
from controller.config.platform import Opening
from controller.core.model import Replicas
from controller.core.ports import LeaseLost, NotSent, Unavailable
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

class Exits:
    def __init__(self, opening): raise SystemExit(3)

class Odd:
    def __init__(self, opening): pass
    def __getattr__(self, name): raise ValueError(name)

class LacksVariable:
    def __init__(self, opening): opening.access.environment["FOLDER"].strip()
"""


def policy(*uses: str) -> Policy:
    workers = {f"w{at}": {**WORKER, "platform": {"use": use, "target": "t"}} for at, use in enumerate(uses)}
    return Policy.model_validate({"workers": workers})


def opened(*uses: str, access: OwnAccess | None = None) -> OwnPlatforms:
    return OwnPlatforms(Opening(access or OwnAccess({}), policy(*uses), SystemClock(), lambda _: True, 1.0, Masker()))


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ("no_such_module:Platform", "ModuleNotFoundError: No module named 'no_such_module'; write MODULE:CLASS"),
        ("theirs:NoSuchClass", "has no attribute 'NoSuchClass'; write MODULE:CLASS"),
        ("theirs:Broken", "its __init__ raised ZeroDivisionError: of its own (theirs.py:14)"),
        ("theirs:LacksVariable", "its __init__ raised KeyError: 'FOLDER' (theirs.py:24)"),
        ("theirs:Exits", "its __init__ raised SystemExit: 3 (theirs.py:17)"),
        ("theirs:Odd", "its __init__ raised ValueError: observe (theirs.py:21)"),
        ("no-entry-point", "no installed package has an entry point of that name"),
    ],
)
def test_a_class_that_cannot_be_loaded_is_refused_at_the_start_with_the_place(theirs: None, use: str, why: str) -> None:
    access = OwnAccess(os.environ)  # whose lookup raises in a file of Python's own
    with pytest.raises(ConfigurationError) as error:
        opened(use, access=access)
    assert f"{use} cannot be loaded: " in str(error.value)
    assert why in str(error.value)


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


WRONG = """
import asyncio, sys
from controller.core.model import Replicas, ServiceState
from controller.core.ports import LeaseLost, Receipt, Unavailable

class Right:
    def __init__(self, opening): pass
    def serve(self, policy): pass
    def requests(self): return None
    async def close(self): pass
    async def observe(self, services): return {}
    async def scale(self, service, change, observed): return Receipt.ACCEPTED

class Raises(Right):
    async def observe(self, services): raise OSError("no route")
    async def scale(self, service, change, observed): raise OSError("no route")

class GivesLess(Right):
    async def scale(self, service, change, observed): pass

class GivesNumbers(Right):
    async def observe(self, services): return dict.fromkeys(services, 3)
    async def scale(self, service, change, observed): return True

class NotAsync(Right):
    def observe(self, services): return {}
    def scale(self, service, change, observed): return Receipt.ACCEPTED

class LostTheLease(Right):
    async def scale(self, service, change, observed): raise LeaseLost("of another")

class Hangs(Right):
    async def observe(self, services): await asyncio.sleep(1e6)
    async def scale(self, service, change, observed): await asyncio.sleep(1e6)

class Cancelled(Right):
    async def observe(self, services): raise asyncio.CancelledError
    async def scale(self, service, change, observed): raise asyncio.CancelledError

class Exits(Right):
    async def observe(self, services): sys.exit(3)
    async def scale(self, service, change, observed): sys.exit(3)

class Mute(Exception):
    def __str__(self): raise ValueError

class RaisesMute(Right):
    async def observe(self, services): raise Mute
    async def scale(self, service, change, observed): raise Mute

class OfItsOwn(Unavailable):
    def __init__(self, code): self.code = code

class RaisesOfItsOwn(Right):
    async def observe(self, services): raise OfItsOwn(3)
    async def scale(self, service, change, observed): raise OfItsOwn(3)

class FailsBeside(Right):
    def serve(self, policy): raise OSError("no disk")
    def requests(self): raise OSError("no disk")
    async def close(self): raise OSError("no disk")

class ExitsBeside(Right):
    def serve(self, policy): sys.exit("no disk")
    def requests(self): sys.exit("no disk")
    async def close(self): sys.exit("no disk")

class Reads(Right):
    reading = Replicas(1, 1, 1, ServiceState.RUNNING)
    async def observe(self, services): return dict.fromkeys(services, self.reading)

class Half:
    def __init__(self, opening): pass
    async def observe(self, services): return {}
    requests = 3
"""


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "raises_when_imported").mkdir()
    (tmp_path / "raises_when_imported" / "__init__.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("name", "observe", "scale"),
    [
        pytest.param(
            "Raises", r"OSError: no route \(wrong.py:15\)", r"OSError: no route \(wrong.py:16\)", id="an error"
        ),
        pytest.param("GivesLess", "gave nothing for t, not Replicas", "gave nothing, not a Receipt", id="nothing"),
        pytest.param("GivesNumbers", "gave a value of type int for t", "of type bool, not a Receipt", id="a number"),
        pytest.param("Hangs", "did not end within 1 min", "did not end within 1 min", id="no end"),
        pytest.param("Cancelled", "raised CancelledError", "raised CancelledError", id="a cancelled task of its own"),
        pytest.param("Exits", "raised SystemExit: 3", "raised SystemExit: 3", id="an exit"),
        pytest.param("RaisesMute", "Mute: which cannot be printed", "Mute: which", id="an error without words"),
        pytest.param("NotAsync", "TypeError: .*await", "TypeError: .*await", id="no coroutine"),
    ],
)
async def test_what_a_platform_may_not_do_is_a_fault_of_its_own_and_never_ends_a_cycle(
    wrong: None, name: str, observe: str, scale: str
) -> None:
    platform, key = opened(f"wrong:{name}"), f"platform:wrong:{name}/t"
    reading: Any = (await platform.observe([key]))[key]
    assert re.search(f"^the platform of your own: wrong:{name}: observe .*{observe}", str(reading))
    with pytest.raises(Unavailable, match=f"wrong:{name}: scale .*{scale}") as unknown:
        await platform.scale(key, intent_to(1), reading)
    assert not isinstance(unknown.value, NotSent), "it may have been done"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("configured", "2", "'2' as configured, not a whole number from 0 to 1,000,000,000"),
        ("configured", None, "nothing as configured"),
        ("running", -1, "-1 as running"),
        ("alive", True, "True as alive"),
        ("crashed", 2.5, "2.5 as crashed"),
        ("leaving", 10**5000, "a value of type int as leaving"),
        ("draining_s", math.nan, "nan as draining_s, not a number of seconds"),
        ("state", "running", "a value of type str as state"),
        ("deployment", 7, "a value of type int as deployment"),
        ("contenders", None, "nothing as contenders"),
        ("words", None, "nothing as words"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
async def test_a_reading_with_a_value_that_no_reading_has_is_none(
    wrong: None, monkeypatch: pytest.MonkeyPatch, field: str, value: object, says: str
) -> None:
    platform, key = opened("wrong:Reads"), "platform:wrong:Reads/t"
    reads: Any = platform._each["wrong:Reads"]
    monkeypatch.setattr(reads, "reading", replace(reads.reading, **{field: value}))
    reading = (await platform.observe([key]))[key]
    assert isinstance(reading, Unavailable)
    assert f"wrong:Reads: observe gave {says}" in str(reading)


async def test_an_unavailable_of_its_own_class_needs_no_text(wrong: None) -> None:
    platform, key = opened("wrong:RaisesOfItsOwn"), "platform:wrong:RaisesOfItsOwn/t"
    reading: Any = (await platform.observe([key]))[key]
    assert str(reading).endswith("wrong:RaisesOfItsOwn: OfItsOwn: 3 (wrong.py:55)")
    with pytest.raises(Unavailable, match="OfItsOwn: 3"):
        await platform.scale(key, intent_to(1), reading)


@pytest.mark.virtual_time
async def test_a_class_that_hangs_holds_up_no_reading_of_another_for_longer_than_its_limit(wrong: None) -> None:
    platform = opened("wrong:Hangs", "wrong:Reads")
    began = asyncio.get_running_loop().time()
    readings = await platform.observe(["platform:wrong:Hangs/t", "platform:wrong:Reads/t"])
    assert [type(one) for one in readings.values()] == [Unavailable, Replicas]
    assert asyncio.get_running_loop().time() - began == pytest.approx(LONGEST_S)


@pytest.mark.parametrize(("name", "raised"), [("FailsBeside", "OSError"), ("ExitsBeside", "SystemExit")])
async def test_what_fails_beside_readings_ends_nothing_and_a_policy_that_was_not_taken_is_told(
    wrong: None, caplog: pytest.LogCaptureFixture, name: str, raised: str
) -> None:
    use = f"wrong:{name}"
    platform, key = opened(use, "wrong:Right"), f"platform:{use}/t"
    assert platform.requests() is None
    platform.serve(policy(use))
    assert f"serve raised {raised}: no disk" in str((await platform.observe([key]))[key])
    await platform.close()
    assert f"{use}: close raised {raised}: no disk" in caplog.text


async def test_a_lease_that_a_platform_found_lost_is_no_fault_of_it(wrong: None) -> None:
    platform, key = opened("wrong:LostTheLease"), "platform:wrong:LostTheLease/t"
    reading: Any = (await platform.observe([key]))[key]
    with pytest.raises(LeaseLost):
        await platform.scale(key, intent_to(1), reading)


def test_a_class_without_a_method_that_is_needed_is_refused_at_the_start(wrong: None) -> None:
    with pytest.raises(
        ConfigurationError, match="wrong:Half cannot be loaded: it has no scale, requests, serve, close;"
    ):
        opened("wrong:Half")


async def test_an_installed_package_names_its_class_by_an_entry_point(wrong: None, tmp_path: Path) -> None:
    for number, package in enumerate(("mine", "other")):
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        points = ["both = wrong:Right", *(["cloud = wrong:Right"] if not number else [])]
        (info / "entry_points.txt").write_text("\n".join(["[worker_autoscaler.platforms]", *points, ""]))
    platform = opened("cloud")
    assert "cloud: observe gave nothing" in str((await platform.observe(["platform:cloud/t"]))["platform:cloud/t"])
    for use, says in (("both", "several packages have"), ("neither", "no installed package has")):
        with pytest.raises(ConfigurationError, match=f"{use} cannot be loaded: {says} an entry point of that name"):
            opened(use)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("wrong:Anything", None),
        (
            "no_such_module:Platform",
            "module no_such_module is not found; put its folder into PYTHONPATH, or install it",
        ),
        ("raises_when_imported.cloud:Platform", None),
        ("no_such_package.cloud:Platform", "module no_such_package.cloud is not found; put"),
        ("neither", "no installed package has an entry point of that name in worker_autoscaler.platforms; or write"),
    ],
)
def test_a_module_that_is_not_there_is_told_with_its_place_before_it_is_loaded(
    wrong: None, use: str, says: str | None
) -> None:
    found = list(OWN.problems(policy(use), {}))
    assert [place for place, _ in found] == ([("workers", "w0", "platform", "use")] if says else [])
    assert all(says is not None and text.startswith(says) for _, text in found)
