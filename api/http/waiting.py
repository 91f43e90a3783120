"""Waiting for a number to grow, on the event loop: whoever waits holds no thread, so that others are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2


async def reached(
    count: Callable[[], int], least: int, timeout_s: float, *, hurry: Callable[[], None] = lambda: None
) -> bool:
    """Wait until `count()` is at least that; return whether it is. Raises what `count` raises; it may block shortly.

    `hurry` is called where it is not there at once.
    """
    deadline, pause_s = monotonic() + timeout_s, _FIRST_PAUSE_S
    while await asyncio.to_thread(count) < least:
        hurry()
        left_s = deadline - monotonic()
        if left_s <= 0:
            return False
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return True
