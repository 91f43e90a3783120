"""The application for a server that starts workers by its name: `uvicorn api.http.main:app --factory`."""

from __future__ import annotations

from fastapi import FastAPI

from api.http.app import create_app
from api.http.logs import configure_logs
from api.settings import read_settings


def app() -> FastAPI:
    """Return the application over the ledger that the environment names."""
    configure_logs()
    return create_app(read_settings())
