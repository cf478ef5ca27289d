"""Production as files: docker-compose.yml, the Dockerfile and docs/deploy.md, held against the code they start."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

import celeryconfig
from ragline.settings import FIXED_ENVIRONMENT, Settings, load_settings
from ragline.stack.parts import Part, application_parts, redis_part, redis_server
from tests.conftest import free_port, wait_until

ROOT = Path(__file__).parents[2]
SERVERS = {"redis", "postgres", "chroma"}
QUEUES = sorted(queue.name for queue in celeryconfig.task_queues)
DEPLOY = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
#: What nobody can do without.
SECRETS = {"POSTGRES_PASSWORD": "pg", "REDIS_PASSWORD": "rd", "RAGLINE_FLOWER_PASSWORD": "fl"}
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])((?:[^${}]|\$\{[^{}]*\})*))?\}")


class Missing(Exception):
    """A required variable is not set; holds its name."""


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    """What Compose makes of a value: ``${A}``, ``${A:-default}``, ``${A:?message}``, nested defaults, ``$$``."""

    def replace(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if environment.get(name):
            return environment[name]
        if kind == "?":
            raise Missing(name)
        return str(interpolated(rest or "", environment))

    if isinstance(value, dict):
        return {key: interpolated(child, environment) for key, child in value.items()}
    if isinstance(value, list):
        return [interpolated(child, environment) for child in value]
    return _VARIABLE.sub(replace, value).replace("$$", "$") if isinstance(value, str) else value


def compose(**environment: str) -> dict[str, Any]:
    found: dict[str, Any] = interpolated(yaml.safe_load(TEXT), {**SECRETS, **environment})
    return found


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
APPLICATION = sorted(set(SERVICES) - SERVERS)
WORKERS = [name for name in APPLICATION if "worker" in SERVICES[name]["command"]]


def parts_of(settings: Settings) -> dict[str, Part]:
    """What ``ragline up`` runs on the image's data folder, by the names of the services."""
    parts = application_parts(settings, Path("/data"), indexing=False)
    return {part.name.removeprefix("worker-"): part for part in parts}


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)(s|m)", duration)
    assert match, duration
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


def variables() -> set[str]:
    return {name for line in TEXT.splitlines() for name in re.findall(r"(?<!\$)\$\{(\w+)", line)}


def check(service: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a service's own health check here, with this interpreter in the place of the image's."""
    kind, *command = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    return run(command, **environment)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    here = [sys.executable if word == "python" else word for word in command]
    return subprocess.run(
        here, capture_output=True, text=True, timeout=30, env={"PATH": os.environ["PATH"], **environment}
    )


# --- the services ---------------------------------------------------------------------------------------------


def test_every_queue_has_exactly_one_worker() -> None:
    served = [command[command.index("--queues") + 1] for command in (SERVICES[name]["command"] for name in WORKERS)]
    assert sorted(served) == QUEUES
    assert sorted(WORKERS) == QUEUES, "a worker's service is named after its queue"


@pytest.mark.parametrize(
    "own",
    [{}, {f"RAGLINE__WORKERS__{queue.upper()}_THREADS": str(31 + i) for i, queue in enumerate(QUEUES)}],
    ids=["defaults", "own concurrency"],
)
def test_commands_are_those_of_ragline_up(own: dict[str, str]) -> None:
    """Up to host names: a container's own, and 0.0.0.0, since its port is published by Docker."""
    settings = load_settings({"PORT": "8080", "RAGLINE_HOST": "0.0.0.0", **own})
    parts = {name: ["python", *part.command[1:]] for name, part in parts_of(settings).items()}
    services = compose(**own)["services"]
    ours = {name: list(services[name]["command"]) for name in APPLICATION if name != "migrate"}
    for commands in (parts, ours):
        for command in commands.values():
            if "--hostname" in command:
                place = command.index("--hostname") + 1
                command[place] = command[place].partition("@")[0]
    assert ours == parts


def test_flower_is_set_up_as_by_ragline_up() -> None:
    settings = load_settings({"RAGLINE_FLOWER_PASSWORD": SECRETS["RAGLINE_FLOWER_PASSWORD"]})
    part = parts_of(settings)["flower"]
    environment = SERVICES["flower"]["environment"]
    expected = {**part.environment, "FLOWER_ADDRESS": "0.0.0.0"}
    assert {name: value for name, value in environment.items() if name.startswith("FLOWER_")} == expected
    assert not SERVICES["flower"]["env_file"], "Flower needs no key of a channel or model provider"


def test_everything_waits_for_the_migration() -> None:
    assert SERVICES["migrate"]["command"] == ["ragline", "db", "upgrade"]
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("ingress", "beat", *WORKERS):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name
    for name in ("beat", "flower", *WORKERS):
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}, name


def test_workers_can_be_scaled() -> None:
    assert not [name for name, service in SERVICES.items() if {"container_name", "hostname"} & set(service)]
    for name in WORKERS:
        command = SERVICES[name]["command"]
        assert command[command.index("--hostname") + 1] == f"{name}@%h"
        assert "ports" not in SERVICES[name], "a published port belongs to one container"
    assert sum("beat" in service.get("command", []) for service in SERVICES.values()) == 1


def test_servers_are_private() -> None:
    networks = compose()["networks"]
    assert networks["private"] == {"internal": True}
    assert not (networks["outside"] or {}).get("internal")
    for name in SERVERS:
        assert SERVICES[name]["networks"] == ["private"], name
        assert not {"ports", "network_mode", "expose"} & set(SERVICES[name]), name
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"ingress": ["127.0.0.1:8080:8080"], "flower": ["127.0.0.1:5555:5555"]}
    everywhere = compose(INGRESS_ADDRESS="0.0.0.0", PORT="80", FLOWER_PORT="81")["services"]
    assert everywhere["ingress"]["ports"] == ["0.0.0.0:80:8080"]
    assert everywhere["flower"]["ports"] == ["127.0.0.1:81:5555"]
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == {"ingress", "io", "flower"}
    assert all("private" in service["networks"] for service in SERVICES.values())


def test_redis_keeps_what_it_is_given() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--requirepass"] == SECRETS["REDIS_PASSWORD"]
    assert {volume.partition(":")[0] for name in SERVERS for volume in SERVICES[name]["volumes"]} == SERVERS


def test_images_are_pinned() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    for name, image in images.items():
        assert re.fullmatch(r"[a-z/]+:\d[\w.]*", image), f"{name}: {image}"
    assert images["redis"].startswith("redis:7")
    assert images["postgres"].startswith("postgres:17")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    version = re.search(r"^chromadb==(\S+)$", lock, re.MULTILINE)
    assert version
    assert images["chroma"] == f"chromadb/chroma:{version[1]}"
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {images[name] for name in APPLICATION} == {f"ragline:{about['version']}"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"], "one build for all"


def test_a_worker_has_time_to_hand_back_its_tasks() -> None:
    graces = [part.grace for part in parts_of(load_settings({})).values()]
    for name in APPLICATION:
        assert seconds(SERVICES[name]["stop_grace_period"]) >= celeryconfig.worker_soft_shutdown_timeout + 10, name
        assert SERVICES[name]["init"] is True, name
    assert seconds(SERVICES["io"]["stop_grace_period"]) >= max(graces)


def test_everything_is_restarted_and_no_log_fills_the_disk() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert service["logging"]["driver"] == "json-file", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


# --- the variables --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_password_that_is_missing_is_asked_for(name: str) -> None:
    with pytest.raises(Missing, match=name):
        interpolated(yaml.safe_load(TEXT), {**SECRETS, name: ""})
    assert not re.search(rf"\$\{{{name}(?!:\?)", TEXT), "no password has a default that works"
    for message in re.findall(rf"\$\{{{name}:\?([^}}]*)\}}", TEXT):
        assert name in message, "the message says what to set"


def test_every_variable_is_documented() -> None:
    assert variables() >= {*SECRETS, "DATABASE_URL", "REDIS_URL", "CHROMA_URL", "INGRESS_ADDRESS", "TORCH_INDEX"}
    assert TEXT.replace("$$", "").count("$") == len(re.findall(r"(?<!\$)\$\{\w", TEXT)), "each as ${NAME}"
    rows = {name for row in re.findall(r"^\| (`.*?) \|", DEPLOY, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert variables() <= rows, f"not in the table of docs/deploy.md: {sorted(variables() - rows)}"


def test_no_variable_is_one_that_the_settings_refuse() -> None:
    """``.env`` is read by Compose and by the containers, and there an unknown RAGLINE name is an error."""
    for name in variables():
        if name.startswith("RAGLINE__"):
            group, _, setting = name.removeprefix("RAGLINE__").lower().partition("__")
            value = {"log": "json"}.get(group, "7")
            assert str(getattr(getattr(load_settings({name: value}), group), setting)) == value
        elif name.startswith("RAGLINE_"):
            assert name in {*FIXED_ENVIRONMENT, "RAGLINE_CONFIG"}


def test_own_addresses_replace_the_servers() -> None:
    own = {"DATABASE_URL": "postgresql://u:p@10.0.0.1/r", "REDIS_URL": "redis://10.0.0.1", "CHROMA_URL": "http://c"}
    services = compose(**own)["services"]
    for name in ("ingress", "beat", "migrate", *WORKERS):
        assert own.items() <= services[name]["environment"].items(), name
    assert services["flower"]["environment"]["REDIS_URL"] == own["REDIS_URL"]


def test_the_containers_settings_are_valid() -> None:
    for name in APPLICATION:
        environment = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
        settings = load_settings({**environment, "RAGLINE_CONFIG": os.devnull})
        assert settings.redis_url == "redis://:rd@redis:6379/0", name
        if name != "flower":
            assert settings.database == "postgresql+psycopg://ragline:pg@postgres:5432/ragline"
            assert settings.chroma_url == "http://chroma:8000"
            assert settings.log.format == "json"


def test_the_documented_files_fit() -> None:
    """The ``.env`` and the override files of docs/deploy.md name what there is."""
    blocks = dict(re.findall(r"^```\w+ title=(\S+)\n(.*?)^```", DEPLOY, re.MULTILINE | re.DOTALL))
    assert set(blocks) == {".env", "servers.yml", "elsewhere.yml"}
    given = set(re.findall(r"^(\w+)=", blocks[".env"], re.MULTILINE))
    assert set(SECRETS) <= given
    servers, elsewhere = yaml.safe_load(blocks["servers.yml"]), yaml.safe_load(blocks["elsewhere.yml"])
    assert set(servers["services"]) == SERVERS
    for name, added in servers["services"].items():
        assert set(added["networks"]) <= set(compose()["networks"])
        for port in added["ports"]:
            assert re.match(r"10\.0\.0\.1:", port), f"{name} is published on the private address alone"
    assert elsewhere == {"networks": {"private": {"internal": False}}}


# --- the health checks ----------------------------------------------------------------------------------------


def test_every_service_that_stays_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        if name != "migrate":
            test = service["healthcheck"]["test"]
            assert test[0] in ("CMD", "CMD-SHELL"), name
            assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"]), name


@pytest.mark.parametrize("queue", QUEUES)
def test_a_worker_is_healthy_while_its_key_is_there(queue: str, redis_url: str) -> None:
    key = f"ragline:ready:{queue}@{socket.gethostname()}"
    with Redis.from_url(redis_url) as redis:
        redis.delete(key)
        redis.set(f"ragline:ready:{queue}", "another")
        redis.set(f"ragline:ready:{queue}@another", "another")
        try:
            without = check(queue, REDIS_URL=redis_url)
            assert (without.returncode, without.stderr) == (1, ""), "another worker's key says nothing of this one"
            redis.set(key, "me", px=60_000)
            there = check(queue, REDIS_URL=redis_url)
            assert there.returncode == 0, there.stderr
            assert check(queue, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0").returncode != 0
        finally:
            redis.delete(key, f"ragline:ready:{queue}", f"ragline:ready:{queue}@another")


@contextmanager
def started(service: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service's own command as a real process; ``/data`` becomes ``folder``."""
    words = [word.replace("/data", str(folder)) for word in SERVICES[service]["command"]]
    assert words[0] == "python"
    own = {"PATH": os.environ["PATH"], "RAGLINE_CONFIG": os.devnull, "RAGLINE_DATA": str(folder), **environment}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *words[1:]], env=own, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.stack
def test_a_real_worker_passes_its_check_and_none_other(redis_url: str, tmp_path: Path) -> None:
    """The key's name, Celery's %h and the check agree; and SIGTERM ends the process within its grace."""
    with Redis.from_url(redis_url) as redis, started("io", tmp_path, REDIS_URL=redis_url) as worker:
        wait_until(lambda: check("io", REDIS_URL=redis_url).returncode == 0, 40, "the worker")
        assert check("control", REDIS_URL=redis_url).returncode == 1
        worker.send_signal(signal.SIGTERM)
        worker.wait(seconds(SERVICES["io"]["stop_grace_period"]))
        keys = ["ragline:ready:io", f"ragline:ready:io@{socket.gethostname()}"]
        assert all(0 < redis.ttl(key) <= 30 for key in keys), "a dead worker's keys go by themselves"
        redis.delete(*keys)
    assert check("io", REDIS_URL=redis_url).returncode == 1


@pytest.mark.stack
def test_beat_is_healthy_while_it_writes_its_schedule(redis_url: str, tmp_path: Path) -> None:
    schedule = tmp_path / "run" / "beat"
    schedule.parent.mkdir()
    *command, path = SERVICES["beat"]["healthcheck"]["test"][1:]
    assert path in SERVICES["beat"]["command"]
    assert run([*command, str(schedule)]).returncode == 1
    with started("beat", tmp_path, REDIS_URL=redis_url):
        wait_until(lambda: run([*command, str(schedule)]).returncode == 0, 40, "beat")
    for written in schedule.parent.iterdir():
        os.utime(written, (time.time() - 401, time.time() - 401))
    assert run([*command, str(schedule)]).returncode == 1


@pytest.mark.parametrize(("service", "path"), [("ingress", "/healthz"), ("flower", "/healthcheck")])
def test_a_server_is_healthy_while_it_answers_200(service: str, path: str) -> None:
    status, asked = 200, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    port = str(free_port())
    test = SERVICES[service]["healthcheck"]["test"][1:]
    inside = SERVICES[service]["ports"][0].rpartition(":")[2]
    assert inside in test
    command = [port if word == inside else word for word in test]
    with HTTPServer(("127.0.0.1", int(port)), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            healthy = run(command, http_proxy="http://127.0.0.1:9")
            assert healthy.returncode == 0, healthy.stderr
            status = 503
            assert run(command).returncode == 1
        finally:
            server.shutdown()
            thread.join()
    assert asked == [path, path]
    assert run(command).returncode != 0


def test_chroma_is_healthy_while_its_heartbeat_answers(chroma_url: str) -> None:
    *command, script = SERVICES["chroma"]["healthcheck"]["test"][1:]

    def at(port: str, text: str = script) -> int:
        assert "127.0.0.1/8000" in text
        return run([*command, text.replace("127.0.0.1/8000", f"127.0.0.1/{port}")]).returncode

    port = chroma_url.rpartition(":")[2]
    assert at(port) == 0
    assert at(port, script.replace("heartbeat", "nothing")) != 0
    assert at(str(free_port())) != 0


def test_redis_is_healthy_when_it_answers_with_the_password(tmp_path: Path) -> None:
    kind, shell = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    port = free_port()
    cli = redis_server().with_name("redis-cli")
    command = ["sh", "-c", shell.replace("redis-cli", f"{cli} -p {port}")]
    assert run(command).returncode != 0
    (tmp_path / "run").mkdir()
    part = redis_part(tmp_path, port, SECRETS["REDIS_PASSWORD"])
    process = subprocess.Popen(part.command, stdout=subprocess.DEVNULL)
    try:
        password = SERVICES["redis"]["environment"]
        wait_until(lambda: run(command, **password).returncode == 0, 10, "redis-server")
        assert run(command, REDISCLI_AUTH="wrong").returncode != 0
    finally:
        process.terminate()
        process.wait(10)


# --- the image ------------------------------------------------------------------------------------------------


def test_the_image_runs_as_a_fixed_user_and_hears_signals() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    user = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert len(user) == 1
    assert int(user[0]) >= 1000
    assert f"--uid {user[0]}" in last
    assert "\nSTOPSIGNAL SIGTERM\n" in last
    for instruction in ("ENTRYPOINT", "CMD"):
        assert re.search(rf"^{instruction} \[\"", last, re.MULTILINE), "the exec form: no shell between"
    assert "HEALTHCHECK" not in DOCKERFILE
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:3.11-slim", "dependencies"}


def test_the_image_names_no_package_host_and_holds_no_secret() -> None:
    assert re.search(r"^ARG TORCH_INDEX=$", DOCKERFILE, re.MULTILINE)
    assert "://" not in DOCKERFILE
    assert not re.search(r"PASSWORD|TOKEN\b|_KEY|SECRET", DOCKERFILE)
    assert "requirements.lock" in DOCKERFILE
    model = re.findall(r"XDG_CACHE_HOME=(\S+)", DOCKERFILE)
    assert len(model) == 2
    assert len(set(model)) == 1, "exported to where it is looked for"


def test_the_build_context_holds_the_packages_and_nothing_private() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "all is left out but what is named"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]}
    needed = {"pyproject.toml", "requirements.lock", project["project"]["readme"], *project["project"]["license-files"]}
    assert allowed == packages | modules | needed
