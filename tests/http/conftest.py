"""The office that the attacks on the door share: made once for a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.office import Office, an_office


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office of this module's own."""
    with an_office(tmp_path_factory.mktemp("office") / "data") as found:
        yield found
