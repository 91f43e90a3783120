"""The application for a server that starts workers by its name: `uvicorn api.http.main:app --factory`."""

from __future__ import annotations

import gc
from typing import Final

from fastapi import FastAPI

from api.http.app import create_app
from api.http.logs import configure_logs
from api.settings import read_settings

# Objects made, net, before the youngest are searched for garbage in circles; and how seldom the older ones are.
_SELDOM: Final = (20_000, 20, 100)


def app() -> FastAPI:
    """Return the application over the ledger that the environment names, in a process that does nothing else."""
    configure_logs()
    # What is imported stays: to search it again and again is what the slowest requests would wait for.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    return create_app(read_settings())
