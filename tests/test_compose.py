"""docker-compose.yml: every profile is whole, and what it tells the program is what the program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import read_settings

FILE = Path(__file__).parents[1] / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
PROGRAMS = {"embedded": "prooftrail", "postgres": "prooftrail-postgres", "citus": "prooftrail-citus"}


def of_profile(profile: str) -> dict[str, Any]:
    return {name: service for name, service in SERVICES.items() if profile in service["profiles"]}


def test_every_service_is_in_one_of_the_three_profiles() -> None:
    assert {profile for service in SERVICES.values() for profile in service["profiles"]} == PROGRAMS.keys()
    assert all(len(service["profiles"]) == 1 for service in SERVICES.values())


@pytest.mark.parametrize("profile", PROGRAMS)
def test_a_profile_needs_nothing_from_another(profile: str) -> None:
    services = of_profile(profile)
    assert PROGRAMS[profile] in services
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source == "." or source in COMPOSE["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in COMPOSE["configs"]
        assert "ports" not in service, "nothing is published to other machines"
    for name, service in services.items():
        for needed in service.get("depends_on", ()):
            assert "healthcheck" in services[needed], f"{name} waits for {needed}, which is never healthy"


@pytest.mark.parametrize("profile", PROGRAMS)
def test_the_program_reads_what_it_is_told(profile: str) -> None:
    environment = SERVICES[PROGRAMS[profile]]["environment"]
    settings = read_settings(environ=environment)
    assert str(settings.data) == f"/data/{profile}"
    if profile == "embedded":
        assert settings.server is None
        return
    assert settings.server is not None
    hosts = {word.removeprefix("host=") for word in settings.server.dsn.split() if word.startswith("host=")}
    assert hosts <= of_profile(profile).keys()


def test_no_two_profiles_share_a_data_directory() -> None:
    told = [SERVICES[name]["environment"]["PROOFTRAIL_DATA"] for name in PROGRAMS.values()]
    assert len(set(told)) == len(told)
