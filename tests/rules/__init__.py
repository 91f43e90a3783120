"""Rules by capability. A module says what its commands look like, so that what holds for every command is tried on it.

MAKERS        functions that make each of its commands with usual values
FIELD_KINDS   the form of each field that `tests/test_commands.py` does not know yet: see WRONG_BY_FIELD there
OTHER_FIELDS  names of fields that have no form of text
CODES         the codes of the refusals that it adds; they are permanent
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

from ledger.command import Command

CommandMaker = Callable[..., Command]


def capabilities() -> Iterator[ModuleType]:
    """Yield the test modules here that introduce commands."""
    for found in pkgutil.iter_modules(__path__):
        if found.name.startswith("test_"):
            module = importlib.import_module(f"{__name__}.{found.name}")
            if hasattr(module, "MAKERS"):
                yield module
