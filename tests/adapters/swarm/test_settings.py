"""Where the Engine is, from the variables of Docker's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.swarm.opening import open_swarm
from controller.adapters.swarm.settings import CERTIFICATES, load_swarm, swarm_warnings
from controller.config.platform import Opening
from controller.core.problems import ConfigurationError
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.contract.stages import WORKER as OF_NO_PLATFORM

WORKER = {**OF_NO_PLATFORM, "swarm": {"service": "jobs"}}


def test_without_a_variable_it_is_the_socket_of_this_machine() -> None:
    assert load_swarm({}).socket == "/var/run/docker.sock"
    assert load_swarm({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}).shown == "/run/user/1000/docker.sock"


def test_tcp_is_http_and_with_tls_https(tmp_path: Path) -> None:
    assert load_swarm({"DOCKER_HOST": "tcp://proxy:2375"}).url == "http://proxy:2375"
    for name in CERTIFICATES:
        (tmp_path / name).touch()
    variables = {"DOCKER_HOST": "tcp://[::1]:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    settings = load_swarm(variables)
    assert (settings.url, settings.certificates) == ("https://[::1]:2376", tmp_path)


def test_a_host_name_that_breaks_the_client_is_refused_when_the_engine_is_opened() -> None:
    access, policy = load_swarm({"DOCKER_HOST": "tcp://xn--:2375"}), Policy.model_validate({"workers": {"w": WORKER}})
    opening = Opening(access, policy, SystemClock(), lambda _: True, 1.0, Masker())
    with pytest.raises(ConfigurationError, match="DOCKER_HOST: has a host name that does not exist"):
        open_swarm(opening)


def test_the_home_of_a_user_who_does_not_exist_is_a_folder_without_the_files() -> None:
    variables = {"DOCKER_HOST": "tcp://h:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "~nobody-of-that-name"}
    with pytest.raises(ConfigurationError, match=r"is ~nobody-of-that-name, where ca\.pem and"):
        load_swarm(variables)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        pytest.param("ssh://me@manager", "forward the socket", id="ssh"),
        pytest.param("unix://docker.sock", "no absolute path", id="a relative path"),
        pytest.param("tcp://manager", "unix:///PATH or tcp://HOST:PORT", id="no port"),
        pytest.param("tcp://me:secret@manager:2375", "unix:///PATH or", id="a password"),
        pytest.param("npipe:////./pipe/docker", "unix:///PATH or", id="windows"),
        pytest.param("tcp://[::1:2375", "unix:///PATH or", id="half an address"),
    ],
)
def test_another_address_is_refused_with_what_to_write(host: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_swarm({"DOCKER_HOST": host})
    (problem,) = caught.value.problems
    assert (problem.place, says in problem.text) == ("DOCKER_HOST", True)
    assert "secret" not in problem.text


def test_missing_files_of_tls_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    with pytest.raises(ConfigurationError, match=r"cert\.pem and key\.pem cannot be read"):
        load_swarm({"DOCKER_HOST": "tcp://m:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("host", "warns"),
    [
        pytest.param("tcp://manager.example.com:2375", True, id="another network"),
        pytest.param("tcp://10.0.0.7:2375", True, id="another machine"),
        pytest.param("tcp://127.0.0.1:2375", False, id="this machine"),
        pytest.param("tcp://socket-proxy:2375", False, id="a container's name"),
        pytest.param("unix:///var/run/docker.sock", False, id="a socket"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_an_open_port_across_a_network_is_a_warning(host: str, *, warns: bool) -> None:
    assert bool([*swarm_warnings({"DOCKER_HOST": host})]) is warns
    assert not [*swarm_warnings({"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1"})]
