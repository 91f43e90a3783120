"""What the HTTP door is compared with: FastAPI handlers that do nothing, or one SQLite transaction a request.

uvicorn benchmarks.http_references:app --factory      (PROOFTRAIL_BENCH_DB names the file)
"""

from __future__ import annotations

import os
import sqlite3
import threading

from fastapi import FastAPI
from pydantic import BaseModel


class Consent(BaseModel):
    """The body that ours takes too."""

    consent_id: str
    subject_id: str
    purpose: str
    fields: list[str]
    text_sha256: str
    language: str
    channel: str


def app() -> FastAPI:
    """Return the application."""
    found = FastAPI()
    store = sqlite3.connect(os.environ["PROOFTRAIL_BENCH_DB"], check_same_thread=False, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE IF NOT EXISTS consents (body TEXT)")
    # One connection takes one transaction at a time.
    lock = threading.Lock()

    @found.post("/empty", status_code=201)
    async def empty(consent: Consent) -> dict[str, bool]:
        return {"recorded": False}

    @found.post("/sqlite", status_code=201)
    def insert(consent: Consent) -> dict[str, bool]:
        with lock:
            store.execute("BEGIN IMMEDIATE")
            store.execute("INSERT INTO consents VALUES (?)", (consent.model_dump_json(),))
            store.execute("COMMIT")
        return {"recorded": True}

    return found
