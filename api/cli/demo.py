"""demo: a year of an invented company in a fresh ledger, told step by step, with commands to go on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Final

import typer

from api.cli.evidence import hand_out
from api.cli.failure import REFUSED, Usage
from api.cli.options import JsonOption
from api.cli.output import Output, counted, path_text
from api.demo.people import Cast
from api.demo.story import CLIENTS, PEOPLE, scenario
from api.demo.workload import StoryClock, Workload
from api.settings import Settings, directory_settings
from ledger import Ledger
from ledger.errors import VerificationError
from ledger.events import DisputeResolved, Withheld
from ledger.storage.engine import QueryItem
from ledger.tlog.fsck import fsck
from ledger.vocabulary import OrderId, SubjectId, new_id, order_tag, subject_tag
from projections.evidence import verify
from projections.evidence.collect import collect_order, collect_tag

DEFAULT_DIRECTORY: Final = Path("demo-data")
ORIGIN: Final = "demo.example.com/records"

# Several thousand events, in well under half a minute on a slow core with a busy disk.
DEFAULT_STEPS: Final = 3_000

# Only a directory that has this file in it is ever removed.
MARKER: Final = ".prooftrail-demo"

PACKAGE: Final = "order-evidence.zip"
ABSENCE: Final = "absence.zip"
KEY_FILE: Final = "ledger.pub"

# In a short year fewer people do as much each, so that something happens.
STEPS_EACH: Final = 12

FEWEST: Final = 100
MOST: Final = 100_000


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("demo")(demo)


def demo(
    events: Annotated[
        int, typer.Option(metavar="N", min=FEWEST, max=MOST, help="How many things people do in the year.")
    ] = DEFAULT_STEPS,
    seed: Annotated[int, typer.Option(metavar="S", help="Another seed is another year.")] = 1,
    keep: Annotated[
        Path, typer.Option("--keep", metavar="DIR", help="Where the ledger is left for you; an older demo is replaced.")
    ] = DEFAULT_DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Live through a year of an invented company: record it, prove an order, erase a person, verify everything.

    Example: prooftrail demo

    All people and companies are made up. The ledger stays in DIR, with its keys, for you to try the commands on.
    """
    output = Output(as_json)
    # Without faker there is no cast: say so before an older demo is removed.
    Cast(seed).person(0)
    settings = directory_settings(keep)
    _make_directory(keep)
    told = _Story(output, settings, seed, events).tell()
    if as_json:
        output.document(told)
    if not told["verified"]:
        raise typer.Exit(REFUSED)


def _make_directory(path: Path) -> None:
    """Make the demo's directory afresh. Raises Usage for one that holds anything but a demo."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise Usage("--keep: is no directory; name another one")
        if path.is_dir() and any(path.iterdir()):
            if not (path / MARKER).is_file():
                raise Usage("--keep: holds something that is no demo, so it is left alone; name another directory")
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Before anything else: a demo that is interrupted may be replaced too.
        (path / MARKER).write_text("Made by `prooftrail demo`, which replaces this directory.\n")
    except OSError as error:
        raise Usage(f"--keep: cannot be used ({error.strerror})") from None


class _Story:
    """The demo, chapter by chapter. What it finds is kept for the summary."""

    def __init__(self, output: Output, settings: Settings, seed: int, events: int) -> None:
        self.output = output
        self.settings = settings
        self.seed = seed
        self.events = events
        self.told: dict[str, Any] = {"data": path_text(settings.data), "seed": seed}
        self.chapters = 0

    def tell(self) -> dict[str, Any]:
        """Run all of it and return the summary. Raises VerificationError where something does not hold."""
        started = monotonic()
        clock = StoryClock()
        self.settings.initialise(ORIGIN)
        with self.settings.open(clock=clock) as ledger:
            work = Workload(ledger, self.seed, clock)
            self._year(ledger, work)
            self._projections(ledger)
            order_id, person = _disputed(ledger, work)
            self._prove(ledger, order_id)
            self._prove_absence(ledger)
            clock.go_to(clock() + timedelta(days=1))
            self._erase(ledger, work, person)
            self._verify(ledger, order_id)
            subject_id = work.subjects[person]
            other = next(subject for one, subject in work.subjects.items() if one not in work.erased)
        self.told |= {"seconds": round(monotonic() - started, 1)}
        self._go_on(order_id, subject_id, other)
        return self.told

    # --- chapters --------------------------------------------------------------------------------------------

    def _year(self, ledger: Ledger, work: Workload) -> None:
        with self._chapter("A year of Näidisarvestus OÜ is recorded"):
            started = monotonic()
            with self.output.progress("recording the year", self.events) as tell:
                people = min(PEOPLE, self.events // STEPS_EACH)
                story = scenario(self.seed, people=people, clients=min(CLIENTS, people), events=self.events)
                tally = work.feed(story, tell)
            seconds = monotonic() - started
            size = ledger.size()
            self._line(
                f"{counted(size, 'event')} about {counted(len(work.subjects), 'person', 'people')}, in {seconds:.1f} s"
            )
            self._line(
                f"{counted(tally.orders, 'order')} kept byte for byte ({tally.order_bytes / 1e6:.1f} MB), "
                f"{tally.disputed} of them disputed"
            )
            self._line(f"{counted(tally.refused, 'disclosure')} refused for want of consent, each refusal recorded too")
            self._line(f"{tally.voided} voided, because consent was withdrawn, or time ran out, before the sending")
            self._line(f"{counted(tally.erased, 'person', 'people')} erased during the year")
        self.told |= {
            "events": size, "people": len(work.subjects), "orders": tally.orders, "order_bytes": tally.order_bytes,
            "disputes": tally.disputed, "refused": tally.refused, "voided": tally.voided, "erased": tally.erased,
            "recording_s": round(seconds, 1),
        }  # fmt: skip

    def _projections(self, ledger: Ledger) -> None:
        with (
            self._chapter("What the events add up to is rebuilt from them, and compared"),
            self.settings.projections(ledger) as projections,
            self.output.progresses() as tell,
        ):
            started = monotonic()
            position = projections.rebuild(lambda done, total: tell("rebuilding", done, total))
            seconds = monotonic() - started
            found = projections.verify(lambda done, total: tell("comparing", done, total))
            self._line(
                f"{counted(position, 'event')} in {seconds:.1f} s: personal data, consents, disclosures, order trails"
            )
            self._line(f"{counted(found.rows, 'row')} compared with a second build: {found.count} differ")
        if found.count:
            raise VerificationError("projections", f"{found.count} rows differ from a fresh build")
        self.told |= {"rebuild_s": round(seconds, 2), "rows_compared": found.rows}

    def _prove(self, ledger: Ledger, order_id: OrderId) -> None:
        package, key_file = self.settings.data / PACKAGE, self.settings.data / KEY_FILE
        disputed = self.told["disputes"] > 0
        with self._chapter(f"{'A disputed' if disputed else 'An'} order is proven to a stranger"):
            key = str(ledger.verifier)
            key_file.write_text(key + "\n")
            findings = hand_out(package, collect_order(ledger, order_id), key)
            for event in findings.story:
                self._line(f"{event.recorded_at[:16].replace('T', ' ')}  {event.type}")
            if findings.complete is not None:
                self._line(f"{findings.complete.text}: by the log's own index of {findings.complete.size} entries")
            self._line(f"evidence package: {package} ({package.stat().st_size / 1024:.0f} KiB)")
            proven, claimed = self._verified_apart(package)
            self._line(f"its own verifier, in a process of its own, without us: {proven} of {claimed} claims hold")
        self.told |= {"order": order_id, "package": path_text(package), "key": key, "claims_proven": proven}

    def _prove_absence(self, ledger: Ledger) -> None:
        package = self.settings.data / ABSENCE
        never = OrderId(new_id())
        with self._chapter("That an order was never given is proven too"):
            findings = hand_out(package, collect_tag(ledger, order_tag(never), kind="order"), str(ledger.verifier))
            self._line(f"order {never}: {findings.complete.text if findings.complete else 'not claimed'}")
            proven, claimed = self._verified_apart(package)
            self._line(f"evidence package: {package}; {proven} of {claimed} claims hold")
        self.told |= {"absence": path_text(package), "absence_proven": findings.complete is not None}

    def _verified_apart(self, package: Path) -> tuple[int, int]:
        """Run verify.py in a process of its own, and return how many claims are proven, of how many that are made."""
        key_file = self.settings.data / KEY_FILE
        command = [sys.executable, "-I", str(verify.__file__), str(package), "--key", str(key_file), "--json"]
        ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if ran.returncode != 0:
            raise VerificationError("evidence package", "its verifier does not prove it")
        claims = [claim["verdict"] for claim in json.loads(ran.stdout)["claims"]]
        return claims.count("proven"), len(claims) - claims.count("not claimed")

    def _erase(self, ledger: Ledger, work: Workload, person: int) -> None:
        subject_id = work.subjects[person]
        before = _values(ledger, subject_id)
        with self._chapter("The person behind that order asks to be erased"):
            work.erase(person)
            after = _values(ledger, subject_id)
            gone = before["present"] - after["present"]
            self._line(f"before: {counted(before['present'], 'personal value')} open")
            self._line(f"after:  {gone} erased with the keys; {after['present']} kept, of orders, for legal claims")
            self._line("the entries stay: they never held a value, only a commitment to it")
        if not gone or after["erased"] < gone:
            raise VerificationError("erasure", "the values of the erased person are still there")
        self.told |= {"erased_subject": subject_id, "erased_values": gone, "kept_values": after["present"]}

    def _verify(self, ledger: Ledger, order_id: OrderId) -> None:
        with self._chapter("After the erasure, everything still verifies"):
            with self.output.progresses() as tell:
                report = fsck(ledger, progress=tell)
            self._line(
                f"{counted(report.entries, 'entry', 'entries')}, {counted(report.tags, 'tag')} and "
                f"{counted(report.checkpoints, 'signed checkpoint')} recomputed"
            )
            self._line(
                f"{counted(report.present, 'value matches its', 'values match their')} commitment, "
                f"{report.erased:,} erased, {report.missing} missing"
            )
            self._line(f"problems: {report.problem_count}")
            proven, claimed = self._verified_apart(self.settings.data / PACKAGE)
            self._line(f"the package of before: {proven} of {claimed} claims still hold")
        self.told["verified"] = report.ok and not report.missing
        self.told["problems"] = report.problem_count

    def _go_on(self, order_id: OrderId, erased: SubjectId, other: SubjectId) -> None:
        data = f"--data {self.settings.data}"
        program = _program()
        commands = [
            f"{program} history --order {order_id} {data}",
            f"{program} state --subject {other} {data}",
            f"{program} state --subject {erased} {data}",
            f"{program} replay --from 0 --to 9 {data}",
            f"{program} prove --order {order_id} -o order.zip {data}",
            f"{program} verify {data}",
        ]
        self.told["try"] = list(map(path_text, commands))
        if not self.output.as_json:
            self.output.say()
            self.output.say(f"Done in {self.told['seconds']} s. The ledger is in {self.settings.data}. Try:", "bold")
            for command in commands:
                self.output.say(f"  {command}")

    # --- telling ---------------------------------------------------------------------------------------------

    @contextmanager
    def _chapter(self, title: str) -> Iterator[None]:
        self.chapters += 1
        if not self.output.as_json:
            if self.chapters > 1:
                self.output.say()
            self.output.say(f"{self.chapters}. {title}", "bold")
        yield

    def _line(self, text: str) -> None:
        if not self.output.as_json:
            self.output.say(f"   {text}")


def _disputed(ledger: Ledger, work: Workload) -> tuple[OrderId, int]:
    """Return the disputed order with the longest story, settled if one is, and the person it is about."""
    best: tuple[bool, int, OrderId, int] | None = None
    # In a very short year nothing may be disputed: then any order will do.
    for handle, person in (work.disputed or work.ordered).items():
        order_id = work.orders[handle]
        if person in work.erased:
            continue
        events = [one.event for one in ledger.read((QueryItem((), (order_tag(order_id),)),))]
        settled = any(isinstance(event, DisputeResolved) for event in events)
        best = max(best or (False, 0, order_id, person), (settled, len(events), order_id, person))
    if best is None:
        raise Usage("nothing was ordered in so short a year; ask for more --events or another --seed")
    return best[2], best[3]


def _values(ledger: Ledger, subject_id: SubjectId) -> dict[str, int]:
    """Return how many personal values about a subject open, and how many are erased."""
    found = {"present": 0, "erased": 0}
    for stored in ledger.engine.select((QueryItem((), (subject_tag(subject_id),)),), end=ledger.size()):
        opened = ledger.open_fields(stored.entry)
        found["present"] += len(opened.fields)
        found["erased"] += sum(why is Withheld.ERASED for why in opened.withheld.values())
    return found


def _program() -> str:
    """Return how this program is called from here: by its name where the shell finds it, else by its path."""
    started = Path(sys.argv[0])
    if shutil.which("prooftrail") or started.name != "prooftrail":
        return "prooftrail"
    return os.path.relpath(started)
