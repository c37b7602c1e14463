"""How a cluster is found: in a pod by its service account, elsewhere by a kubeconfig file."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from controller.adapters.clock import SystemClock
from controller.adapters.kubernetes import settings
from controller.adapters.kubernetes.access import Credentials, KubernetesAccess, Plugin
from controller.adapters.kubernetes.settings import kubernetes_warnings, load_kubernetes
from controller.core.ports import NotSent
from controller.core.problems import ConfigurationError
from tests.support.scene import LaterClock

CLUSTER = {"server": "https://cluster.test:6443/"}


def kubeconfig(folder: Path, user: object, cluster: object = CLUSTER, context: str = "here") -> dict[str, str]:
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": context,
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return {"KUBECONFIG": str(path)}


def refused(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as error:
        load_kubernetes(environment)
    (problem,) = error.value.problems
    return str(problem)


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ACCOUNT", tmp_path)
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert "automountServiceAccountToken" in refused(pod)
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("t")
    access = load_kubernetes(pod)
    assert (access.server, access.token_file) == ("https://[fd00::1]:443", tmp_path / "token")


def test_without_either_it_is_said_what_to_set() -> None:
    assert refused({}).startswith("KUBECONFIG: is not set, and this is no pod")


def test_a_kubeconfig_with_a_token_is_read_and_its_secret_is_known(tmp_path: Path) -> None:
    access = load_kubernetes(kubeconfig(tmp_path, {"token": "planted-token"}))
    assert (access.server, access.secrets) == ("https://cluster.test:6443", ("planted-token",))
    assert "planted" not in repr(access)


@pytest.mark.parametrize(
    ("user", "cluster", "says"),
    [
        ({"auth-provider": {"name": "gcp"}}, CLUSTER, "auth-provider of context here is not supported"),
        ({"username": "a", "password": "b"}, CLUSTER, "is not supported; Kubernetes has no passwords"),
        ({"client-certificate-data": "Zm9v"}, CLUSTER, "one of client-certificate and client-key"),
        ({"client-key-data": "!"}, CLUSTER, "client-key cannot be read"),
        ({"client-key-data": "é"}, CLUSTER, "client-key cannot be read"),
        ({"client-key": "a\0b"}, CLUSTER, "client-key cannot be read"),
        ({"exec": {"args": []}}, CLUSTER, "exec names no command"),
        ({"exec": {"command": "aws", "args": "eks"}}, CLUSTER, "exec has args that are no list of texts"),
        ({"exec": {"command": "aws", "args": 5}}, CLUSTER, "exec has args that are no list of texts"),
        ({"exec": {"command": "aws", "env": {"A": "b"}}}, CLUSTER, "exec has an env that is no list"),
        ({"exec": {"command": "aws", "env": 5}}, CLUSTER, "exec has an env that is no list"),
        ({"token": "tökén"}, CLUSTER, "token holds a blank, a line break or a letter"),
        ({"token": {"a": "b"}}, CLUSTER, "token holds a blank, a line break or a letter"),
        ({"tokenFile": ["a"]}, CLUSTER, "tokenFile is no path"),
        ({}, {"server": "https://cluster.test:99999"}, "must be an https:// or http:// address"),
        ({}, {"server": "https://[::1"}, "must be an https:// or http:// address"),
        ({}, {"server": "https://"}, "must be an https:// or http:// address"),
        ({}, {"server": "cluster.test"}, "must be an https:// or http:// address"),
        ({}, {"server": "https://me:word@cluster.test"}, "server holds a user or password"),
        ({}, {**CLUSTER, "proxy-url": "http://p"}, "set HTTPS_PROXY"),
    ],
)
def test_what_of_a_kubeconfig_cannot_be_used_is_said_with_the_fix(
    tmp_path: Path, user: object, cluster: object, says: str
) -> None:
    assert says in refused(kubeconfig(tmp_path, user, cluster))


def test_a_context_that_is_not_there_and_a_file_that_is_none_are_said(tmp_path: Path) -> None:
    assert "has no context 'gone'" in refused(kubeconfig(tmp_path, {}, context="gone"))
    (tmp_path / "list").write_text("- a\n")
    assert "is not a kubeconfig file" in refused({"KUBECONFIG": str(tmp_path / "list")})
    assert "cannot be read" in refused({"KUBECONFIG": str(tmp_path / "none")})
    assert "names several files" in refused({"KUBECONFIG": "/a:/b"})


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-13-45",
        f"a: {'9' * 5000}",
        "a: !!int x",
        "a: !!bool x",
        "a: !!timestamp x",
        "&a [*a]",
        "- " * 5000,
        "a\0",
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_a_file_that_breaks_the_reader_of_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd").write_text(text)
    assert f"KUBECONFIG: {tmp_path / 'odd'} is not a kubeconfig file" in refused({"KUBECONFIG": str(tmp_path / "odd")})


def test_the_home_of_a_user_who_does_not_exist_is_refused() -> None:
    assert "~nobody-of-that-name/config cannot be read" in refused({"KUBECONFIG": "~nobody-of-that-name/config"})


def test_a_plugin_with_a_slash_is_looked_for_beside_the_file_as_kubectl_does(tmp_path: Path) -> None:
    for command, found in (("bin/login", tmp_path / "bin/login"), ("login", "login"), ("/bin/login", "/bin/login")):
        access = load_kubernetes(kubeconfig(tmp_path, {"exec": {"command": command, "args": ["--for", 5]}}))
        assert access.plugin is not None
        assert (access.plugin.command, access.plugin.arguments) == (str(found), ("--for", "5"))


def test_a_service_s_port_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ACCOUNT", tmp_path)
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("t")
    linked = {"KUBERNETES_SERVICE_HOST": "c", "KUBERNETES_SERVICE_PORT": "tcp://10.0.0.1:443"}
    assert "makes no address with its port" in refused(linked)


def test_a_cluster_whose_certificate_is_not_checked_is_a_warning(tmp_path: Path) -> None:
    environment = kubeconfig(tmp_path, {"token": "t"}, {**CLUSTER, "insecure-skip-tls-verify": True})
    (warning,) = kubernetes_warnings(environment)
    assert "insecure-skip-tls-verify" in str(warning)


async def test_a_token_s_file_is_read_again_each_minute_or_once_it_was_refused(tmp_path: Path) -> None:
    path, gone_by = tmp_path / "token", 0.0
    path.write_text("one\n")
    credentials = Credentials(KubernetesAccess("https://c", token_file=path), LaterClock(lambda: gone_by))
    assert await credentials.headers() == {"Authorization": "Bearer one"}
    path.write_text("two\n")
    assert await credentials.headers() == {"Authorization": "Bearer one"}
    credentials.expire({"Authorization": "Bearer of an older request"})
    assert await credentials.headers() == {"Authorization": "Bearer one"}
    credentials.expire({"Authorization": "Bearer one"})
    assert await credentials.headers() == {"Authorization": "Bearer two"}
    path.write_text("three\n")
    gone_by = 60.0
    assert await credentials.headers() == {"Authorization": "Bearer three"}
    path.write_text("")
    credentials.expire({"Authorization": "Bearer three"})
    with pytest.raises(NotSent, match="holds no token"):
        await credentials.headers()


@pytest.mark.parametrize(
    ("prints", "says"),
    [
        ('{"status": {"token": "of-a-plugin"}}', ""),
        ("no JSON", "gave no token"),
        ("[" * 50_000, "gave no token"),
        ('{"status": {"clientCertificateData": "x"}}', "gave a certificate, which is not supported"),
    ],
)
async def test_an_exec_plugin_gives_the_token_or_it_is_said_that_it_did_not(prints: str, says: str) -> None:
    code = f"import os, sys; assert 'ExecCredential' in os.environ['KUBERNETES_EXEC_INFO']; print({prints!r})"
    plugin = Plugin(sys.executable, ("-c", code), {}, "client.authentication.k8s.io/v1")
    credentials = Credentials(KubernetesAccess("https://c", plugin=plugin), SystemClock())
    if says:
        with pytest.raises(NotSent, match=says):
            await credentials.headers()
    else:
        assert await credentials.headers() == {"Authorization": "Bearer of-a-plugin"}


async def test_what_an_exec_plugin_prints_in_two_parts_is_read_to_its_end() -> None:
    printed = 'printf \'{"status": \'; sleep 0.2; printf \'{"token": "of-a-plugin"}}\''
    plugin = Plugin("sh", ("-c", printed), {}, "client.authentication.k8s.io/v1")
    credentials = Credentials(KubernetesAccess("https://c", plugin=plugin), SystemClock())
    assert await credentials.headers() == {"Authorization": "Bearer of-a-plugin"}


async def test_requests_that_need_a_token_together_start_one_plugin(tmp_path: Path) -> None:
    runs = shlex.quote(str(tmp_path / "runs"))
    printed = f"""echo >> {runs}; printf '{{"status": {{"token": "of-a-plugin"}}}}'"""
    plugin = Plugin("sh", ("-c", printed), {}, "client.authentication.k8s.io/v1")
    credentials = Credentials(KubernetesAccess("https://c", plugin=plugin), SystemClock())
    headers = await asyncio.gather(*(credentials.headers() for _ in range(8)))
    assert [one["Authorization"] for one in headers] == ["Bearer of-a-plugin"] * 8
    assert (tmp_path / "runs").read_text() == "\n"
    assert credentials.clean("refused: of-a-plugin") == "refused: •••"
