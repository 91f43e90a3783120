"""A simulated year of what the cast asks for: a seeded stream of steps in causal order.

What is due by now comes first, else somebody does something of their own accord; lives.py knows who may do what,
weights.py how likely it is.
Nothing here knows a rule of the ledger or waits for its answer: a feeder may stop anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from api.demo.agenda import DAY_MS, YEAR_MS, Act
from api.demo.lives import Life, World
from api.demo.steps import Step
from api.demo.weights import OF_ONE_ACCORD

PEOPLE = 120
CLIENTS = 40
EVENTS = 4000
ARRIVAL_MS = 10 * DAY_MS
CLIENTLESS_SHARE = 0.08  # people who only wrote to the company


def scenario(seed: int, people: int = PEOPLE, clients: int = CLIENTS, events: int = EVENTS) -> Iterator[Step]:
    """Return an iterator of exactly `events` steps over the working hours of 2026, times strictly increasing.

    Indices refer to Cast(seed). Half the people are there within two weeks, the others come until autumn. Same
    arguments, same steps. Raises ValueError without people or clients, DemoExtraMissing without faker.
    """
    if people < 1 or clients < 1:
        raise ValueError("a story needs at least one person and one client")
    world = World(seed, people=people, clients=clients)
    for index, due_ms in enumerate(_arrivals(world, people)):
        client = None if world.rng.random() < CLIENTLESS_SHARE else index % clients
        life = Life(world, index, client)
        life.expect(due_ms, life.register)
    return _tell(world, events)


def _tell(world: World, events: int) -> Iterator[Step]:
    for count in range(events):
        # A jitter of up to one step: the pace is even, the order strict, the last step still in the year.
        pace_ms = (count * 1000 + world.rng.randint(1, 999)) * YEAR_MS // (events * 1000)
        act = world.agenda.next_due(pace_ms if world.live else None)
        if act is None:
            world.agenda.go_to(pace_ms)
            act = _somebody(world)
        yield act(world.agenda.now())


def _somebody(world: World) -> Act:
    """Draw who does what. The square favours those who came first: a few people do much, many do little."""
    lot = world.rng.random()
    possible = world.live[int(lot * lot * len(world.live))].possible()
    moves = [(move.step, move.weight) for move in OF_ONE_ACCORD if move.step in possible]
    [step] = world.rng.choices([step for step, _ in moves], [weight for _, weight in moves])
    assert step is not None
    return possible[step]


def _arrivals(world: World, people: int) -> list[int]:
    early = (people + 1) // 2
    first = sorted(world.rng.randrange(ARRIVAL_MS) for _ in range(early))
    first[0] = 0  # somebody opens the year: nothing can happen before
    later = sorted(world.rng.randrange(ARRIVAL_MS, YEAR_MS * 3 // 4) for _ in range(people - early))
    return first + later
