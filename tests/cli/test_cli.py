"""The commands that end by themselves: their exit codes, what they print, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from controller.cli.main import commands
from controller.configuration import ADAPTERS
from controller.demo.server_host import free_ports
from tests.support.examples import some
from tests.support.patience import until
from tests.support.processes import CLEAN, UNHURRIED, autoscaler, begun, led_before, running
from tests.support.scene import POLICY, WORKER, Scene

# --- what every command says ---


@pytest.mark.parametrize("command", commands()[1].parsers)
async def test_the_help_of_every_command_says_what_it_touches(command: str) -> None:
    ran = await autoscaler(command, "--help")
    assert ran.code == 0
    assert "touches:" in ran.out


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)], ids=["nothing", "help", "--help"])
async def test_the_help_names_every_command(arguments: tuple[str, ...]) -> None:
    ran = await autoscaler(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert all(re.search(rf"^  {name} |[ ,]{name}(,|$)", ran.out, re.MULTILINE) for name in commands()[1].parsers)


async def test_the_help_of_a_topic_is_that_of_the_command() -> None:
    topic, command = await asyncio.gather(autoscaler("help", "tune"), autoscaler("tune", "--help"))
    assert (topic.code, topic.out) == (0, command.out)


async def test_the_variables_stand_in_one_topic_that_the_commands_point_at() -> None:
    topic, run = await asyncio.gather(autoscaler("help", "environment"), autoscaler("run", "--help"))
    assert topic.code == 0
    assert all(re.search(rf"^{one.name} ", topic.out, re.MULTILINE) for one in ADAPTERS.variables)
    assert "`autoscaler help environment`" in run.out
    assert "RAILWAY_PROJECT_ID" not in run.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulat"], "'simulat' is not a command; did you mean simulate?"),
        (["fly"], "'fly' is not a command. See `autoscaler --help`"),
        (["demo", "x"], "demo: unrecognized arguments: x."),
        (["simulate", "--jsn"], "unrecognized arguments: --jsn; did you mean --json?"),
        (["tune", "--wiat=60s"], "unrecognized arguments: --wiat=60s; did you mean --wait?"),
        (["--verison"], "unrecognized arguments: --verison; did you mean --version?"),
        (["tune", "--wait", "60s", "--form", "tier"], "invalid choice: 'tier'; did you mean tiers?"),
        (["completion", "ksh"], "invalid choice: 'ksh'; did you mean zsh?"),
        (["completion", "powershell"], "; choose from bash, zsh, fish"),
        (["queues", "procastinate"], "'procastinate' is not a known preset; did you mean procrastinate?"),
        (["queues", "kafka"], "'kafka' is not a known preset; known are absurd, "),
        (["help", "enviroment"], "'enviroment' is neither a command nor a topic; did you mean environment?"),
        (["docs", "metric"], "'metric'; did you mean metrics?"),
        (["queue-trigger", "generation-workr"], "; did you mean generation-worker?"),
    ],
)
async def test_what_is_mistyped_is_answered_with_what_was_meant(arguments: list[str], words: str) -> None:
    ran = await autoscaler(*arguments, environment={"RAILWAY_WORKER_SERVICE_ID": "s"})
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["simulate", "--worker", "v", "fast", "--json", "missing.yaml"],
            "missing.yaml: there is no such file",
        ),
        (["simulate", "economy", "--json", "kedda"], "kedda: is neither a file nor a built-in policy; did you mean"),
        (["plan", "missing.yaml", "--worker", "v", "other.yaml"], "missing.yaml: there is no such file"),
        (["tune", "--wait", "60s", "missing.yaml", "--span", "1h"], "missing.yaml: there is no such file"),
        (["plan", "one.yaml", "--worker", "v", "two.yaml", "three"], "plan: unrecognized arguments: three."),
        (["check", "missing.yaml", "--json", "two.yaml"], "check: unrecognized arguments: two.yaml."),
        (["simulate", "economy", "--load", "fast"], "argument --load: 'fast' is not a number"),
    ],
)
async def test_arguments_stand_before_between_and_after_options(arguments: list[str], words: str) -> None:
    ran = await autoscaler(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())


@pytest.mark.parametrize("command", ["run", "once", "explain", "doctor", "check", "queue-trigger", "tune", "simulate"])
@pytest.mark.parametrize("form", ["FILE", "--policy FILE", "AUTOSCALER_POLICY"])
async def test_every_command_that_reads_a_policy_takes_its_file_in_either_way(command: str, form: str) -> None:
    arguments = [*form.split()[:-1], "missing.yaml"] if form != "AUTOSCALER_POLICY" else []
    more = ["--wait", "60s"] if command == "tune" else []
    ran = await autoscaler(command, *arguments, *more, environment={"AUTOSCALER_POLICY": "missing.yaml"})
    assert ran.code == 2
    assert "missing.yaml: there is no such file" in ran.err


@pytest.mark.parametrize("command", ["run", "once", "explain", "doctor", "check", "queue-trigger", "tune", "simulate"])
async def test_two_different_files_are_refused_and_the_same_one_twice_is_not(command: str) -> None:
    more = ["--wait", "60s"] if command == "tune" else []
    two = await autoscaler(command, "one.yaml", "--policy", "two.yaml", *more)
    assert (two.code, two.out) == (2, "")
    assert "--policy: name two files, one.yaml and two.yaml" in two.err
    same = await autoscaler(command, "missing.yaml", "--policy", "./missing.yaml", *more)
    assert "missing.yaml: there is no such file" in same.err


async def test_plan_takes_the_new_policy_in_every_way() -> None:
    two = await autoscaler("plan", "old.yaml", "one.yaml", "--policy", "two.yaml")
    assert "NEW and --policy: name two files, one.yaml and two.yaml" in two.err
    for arguments in (("missing.yaml",), ("--policy", "missing.yaml"), ()):
        ran = await autoscaler("plan", str(POLICY), *arguments, environment={"AUTOSCALER_POLICY": "missing.yaml"})
        assert "missing.yaml: there is no such file" in ran.err


async def test_a_worker_s_name_and_a_file_are_told_apart(tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text(POLICY.read_text())
    environment = {"RAILWAY_WORKER_SERVICE_ID": "s"}
    for arguments in ((WORKER, str(policy)), (str(policy), WORKER), (WORKER, "--policy", str(policy)), (str(policy),)):
        ran = await autoscaler("queue-trigger", *arguments, environment=environment, cwd=tmp_path)
        assert (ran.code, "AFTER INSERT" in ran.out) == (0, True), ran.err
    two = await autoscaler("queue-trigger", "a", "b", environment=environment)
    assert "WORKER: is named 2 times: a, b; name one" in two.err


@pytest.mark.parametrize(
    "arguments",
    [["run", "policy.yaml", "a\x1b[31m\nFAKE"], ["a\x1b[31m\nFAKE"], ["simulate", "--seed", "a\x1b[31m\nFAKE"]],
    ids=["an argument too many", "an unknown command", "a wrong value"],
)
async def test_what_a_terminal_would_obey_is_spelt_out_where_an_argument_is_repeated(arguments: list[str]) -> None:
    ran = await autoscaler(*arguments)
    assert ran.code == 2
    assert r"a\x1b[31m\nFAKE" in ran.err


@pytest.mark.costly
@pytest.mark.parametrize("arguments", ["--help", "run --help", "check --help", "queues --help", "fly"])
def test_no_command_imports_what_it_does_not_need_to_print_its_help(arguments: str) -> None:
    asked = (
        "import sys\nfrom controller.cli.main import main\n"
        f"try: main({arguments.split()!r})\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", asked], env=CLEAN, cwd=POLICY.parent, capture_output=True, text=True, check=True
    )
    imported = {name.partition(".")[0] for name in ran.stdout.splitlines()[-1].split()}
    assert "controller" in imported
    assert imported & {"pydantic", "psycopg", "httpx", "aiohttp", "redis", "tenacity", "graphql"} == set()


@pytest.mark.costly
def test_run_loads_nothing_for_what_its_policy_does_not_use() -> None:
    modules = "controller.app, controller.web.server, controller.adapters.railway.opening"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}\nprint(*sys.modules)"],
        env=CLEAN,
        cwd=POLICY.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {*ran.stdout.split()}
    assert "controller.app" in imported
    others = {f"controller.adapters.{one}" for one in ("kubernetes.access", "swarm.opening", "own.platform")}
    assert imported & {"prometheus_client", "cronsim", "difflib", *others} == set()


async def test_the_version() -> None:
    ran = await autoscaler("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "autoscaler")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("run", "--fast"),
        ("fake-railway", "--port", "x"),
        ("fake-railway", "--port", "0", "--exec", "'open"),
        ("demo", "--seconds", "0"),
    ],
)
async def test_a_wrong_command_line_is_exit_2(arguments: tuple[str, ...]) -> None:
    ran = await autoscaler(*arguments)
    assert ran.code == 2
    assert "Traceback" not in ran.err


# --- check ---


async def test_check_prints_each_value_with_where_it_comes_from() -> None:
    ran = await autoscaler("check", environment={"RAILWAY_WORKER_SERVICE_ID": "svc", "MAX_WORKERS": "7"})
    assert ran.code == 0
    assert "MAX_WORKERS is '7'" in ran.out
    assert "policy.yaml is valid: 1 worker service" in ran.out


INSECURE = {"RAILWAY_WORKER_SERVICE_ID": "svc", "RAILWAY_API_URL": "http://10.0.0.5/graphql/v2"}


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_check_warns_of_a_token_that_would_be_sent_unencrypted(form: tuple[str, ...]) -> None:
    ran = await autoscaler("check", *form, environment=INSECURE)
    assert ran.code == 0
    assert "RAILWAY_API_URL: begins with http://, so the token is sent unencrypted" in ran.out


@pytest.mark.costly
async def test_the_log_and_doctor_warn_of_a_token_that_would_be_sent_unencrypted(scene: Scene) -> None:
    api = scene.environment["RAILWAY_API_URL"]
    insecure = {"RAILWAY_API_URL": api.replace("127.0.0.1", "railway.invalid"), **UNHURRIED}
    async with running(scene, **insecure) as controller:
        warned = await controller.until(event="setting_warning")
    assert warned["message"].startswith("RAILWAY_API_URL: begins with http://")
    ran = await autoscaler("doctor", environment={**scene.environment, **insecure})
    assert re.search(r"warning +settings +RAILWAY_API_URL: begins with http://", ran.out)


OUR_KEYS = ("lease", "epoch", "worker:<window>", "rpm")


@pytest.mark.parametrize(
    ("command", "key"), some([(command, key) for key in OUR_KEYS for command in ("check", "run")], every=3)
)
async def test_a_key_of_the_rate_limit_that_is_the_controller_s_own_is_refused_by_check_and_at_the_start(
    tmp_path: Path, key: str, command: str
) -> None:
    bad = tmp_path / "bad.yaml"
    own = f"{{autoscaler:env}}:{key}"
    field = "usage" if "<window>" in key else "rpm_limit"
    limit = "rpm: ${GLOBAL_RPM_LIMIT:-60}"
    text = POLICY.read_text()
    assert limit in text
    bad.write_text(text.replace(limit, f"{limit}\n      keys: {{{field}: '{own}'}}"))
    environment = {"RAILWAY_WORKER_SERVICE_ID": "svc", "AUTOSCALER_POLICY": str(bad)}
    ran = await autoscaler(command, environment=environment)
    assert ran.code == 2
    assert f"rate_limit.keys.{field}: is {own}, which has the form of the controller's own keys" in ran.err


async def test_check_names_everything_that_is_wrong_and_exits_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(POLICY.read_text().replace("min_replicas", "min_workers").replace("30000}ms", "30000}"))
    ran = await autoscaler("check", str(bad), environment={"RAILWAY_WORKER_SERVICE_ID": "svc"})
    assert ran.code == 2
    assert "2 things are wrong; nothing was changed" in ran.err
    assert "min_workers: is not a key: write min_replicas" in ran.err
    as_json = await autoscaler("check", "--json", str(bad), environment={"RAILWAY_WORKER_SERVICE_ID": "svc"})
    assert (as_json.code, len(as_json.objects[0]["problems"])) == (2, 2)


async def test_check_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    ran = await autoscaler("check", cwd=tmp_path)
    assert ran.code == 2
    assert "policy.yaml: there is no such file; name the policy on the command line" in ran.err


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"", b"- 1"])
async def test_check_of_a_file_that_is_no_policy_is_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    ran = await autoscaler("check", str(path))
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 2


# --- once and explain ---


async def test_once_is_one_cycle_and_says_by_its_exit_code_how_it_went(scene: Scene) -> None:
    await scene.jobs(15)
    applied = await autoscaler("once", "--json", environment=scene.environment)
    (line,) = applied.objects
    assert (applied.code, line["outcome"], line["desired"]) == (0, "applied", 2)
    held = await autoscaler("once", environment=scene.environment)
    assert held.code == 0
    failed = await autoscaler("once", "--json", environment={**scene.environment, "RAILWAY_API_TOKEN": "wrong"})
    assert (failed.code, failed.objects[0]["outcome"]) == (1, "failed")
    assert scene.asked_for == [2]


async def test_once_leaves_it_to_the_controller_that_leads(scene: Scene) -> None:
    await scene.jobs(15)
    async with scene.controller():
        ran = await autoscaler("once", "--json", environment=scene.environment)
    assert (ran.code, ran.objects[0]["outcome"], ran.objects[0]["reason"]) == (0, "standby", "Standby")
    assert scene.sent == []


@pytest.mark.costly
async def test_explain_prints_each_rule_s_turn_and_changes_nothing(scene: Scene) -> None:
    await scene.jobs(10, processing=5)
    ran = await autoscaler("explain", environment=scene.environment)
    assert ran.code == 0
    assert WORKER in ran.out
    assert "→ 15 jobs (10 pending, 5 processing) want 2 workers: 0 → 2" in ran.out
    as_json = await autoscaler("explain", "--json", environment=scene.environment)
    (line,) = as_json.objects
    async with scene.controller() as driven:
        await driven.tick()
    assert line.keys() == scene.events("reconcile")[0].keys() | {"scheduled", "failed", "steps"}
    assert (line["desired"], line["direction"]) == (2, "up")
    assert line["steps"][-1] == "record 0 → 2, then request it"
    assert line["steps"][-1] in " ".join(ran.out.split())
    assert scene.asked_for == [2]


@pytest.mark.costly
async def test_explain_shows_what_a_table_cannot_tell_as_unknown(scene: Scene) -> None:
    await scene.queue.execute("DROP TABLE generation_job")
    await scene.queue.execute("CREATE TABLE generation_job (status text, send_after timestamptz)")
    await scene.queue.execute(
        "INSERT INTO generation_job SELECT 'pending', now() + interval '1 day' FROM generate_series(1, 3)"
    )
    out = " ".join((await autoscaler("explain", environment=scene.environment)).out.split())
    assert "3 jobs (3 pending, 0 processing); how long the oldest ready job has waited is unknown" in out
    assert "note 3 jobs of table generation_job count as pending although their send_after lies in the future" in out
    assert "also scheduled for later: unknown (no column says when a job is due), 0 failed" in out
    (line,) = (await autoscaler("explain", "--json", environment=scene.environment)).objects
    assert (line["pending"], line["scheduled"], line["failed"], line["oldest_age_s"]) == (3, None, 0, None)
    assert "stale" not in line
    async with scene.controller() as driven:
        await driven.tick()
        (status,) = driven.controller.status.workers.values()
    assert (status.pending, status.stale, status.stale_shown, status.oldest_age_s) == (3, None, None, None)
    (warned,) = [event for event in scene.events("queue_warning") if event["about"] == "due"]
    assert "write columns: {scheduled_for: send_after}" in warned["message"]


async def test_explain_says_what_cannot_be_read_and_exits_1(scene: Scene) -> None:
    ran = await autoscaler("explain", environment={**scene.environment, "RAILWAY_API_TOKEN": "wrong"})
    assert ran.code == 1
    assert "check RAILWAY_API_TOKEN" in ran.out
    assert "Traceback" not in ran.err


async def test_a_full_device_is_no_traceback() -> None:
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230  # a device, handed to the process
        environment = {"RAILWAY_WORKER_SERVICE_ID": "svc"}
        process = await begun("check", str(POLICY), environment=environment, stdout=full.fileno())
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in errors


async def test_an_output_that_knows_no_arrows_gets_them_spelt_out(scene: Scene) -> None:
    await scene.jobs(15)
    ran = await autoscaler("explain", environment={**scene.environment, "PYTHONIOENCODING": "ascii"})
    assert ran.code == 0
    assert "0 \\u2192 2" in ran.out


# --- fake-railway ---


@pytest.mark.costly
async def test_the_fake_alone_prints_what_points_a_controller_at_it(scene: Scene) -> None:
    await led_before(scene)
    process = await begun("fake-railway", "--port", "0", "--replicas", "1", environment={})
    lines = [(await process.stdout.readline()).decode().strip() for _ in range(5)]
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert all(line.startswith("export RAILWAY_") for line in lines)
    await scene.jobs(15)
    ran = await autoscaler("once", environment={**scene.environment, **exported})
    assert ran.code == 0
    base = exported["RAILWAY_API_URL"].removesuffix("/graphql/v2")
    async with httpx.AsyncClient() as client:
        (mutation,) = (await client.get(f"{base}/mutations")).json()
        assert mutation["variables"]["input"]["multiRegionConfig"]
        await client.post(f"{base}/faults", json={"fault": "502", "times": 9})
    assert (await autoscaler("once", environment={**scene.environment, **exported})).code == 1
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.costly
async def test_the_fake_s_announcement_is_one_write() -> None:
    """So that `head -n 5`, which goes away with its lines, does so after the last write and not between two."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one recv is one write
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", "fake-railway", "--port", "0"),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=its.fileno(),
    )
    its.close()
    with ours:
        said = (await asyncio.to_thread(ours.recv, 65_536)).decode()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert said.count("export RAILWAY_") == 5
    assert said.endswith("/services/worker\n")


async def test_the_fake_serves_on_when_the_reader_of_its_announcement_is_gone() -> None:
    port = next(free_ports())
    reading, writing = os.pipe()
    os.close(reading)
    process = await begun("fake-railway", "--port", str(port), environment={}, stdout=writing)
    os.close(writing)

    async def answers() -> bool:
        assert process.returncode is None
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"http://127.0.0.1:{port}/state")).status_code == 200
        return False

    await until(answers, "the fake to serve")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_the_fake_s_port_in_use_is_one_message(scene: Scene) -> None:
    port = scene.fake.base_url.rsplit(":", 1)[1]
    ran = await autoscaler("fake-railway", "--port", port)
    assert ran.code == 2
    assert f"cannot listen on port {port}" in ran.err


@pytest.mark.costly
@pytest.mark.parametrize(("command", "package"), [(("demo",), "rich"), (("fake-railway", "--port", "0"), "graphql")])
async def test_a_command_that_lacks_its_extra_says_which_to_install(
    tmp_path: Path, command: tuple[str, ...], package: str
) -> None:
    """A package of that name that cannot be imported stands for one that is not installed."""
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('gone', name={package!r})")
    ran = await autoscaler(*command, environment={"PYTHONPATH": str(tmp_path)})
    assert ran.code == 2
    assert "in a checkout, install it with: pip install '.[" in " ".join(ran.err.split())
