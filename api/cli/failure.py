"""How a command ends: exit codes, and one clear line to standard error for whatever went wrong.

    0    done
    1    refused by a rule, lost a race, or evidence does not hold
    2    wrong usage, or the store cannot be opened, read or written
    130  interrupted (nothing is half done);  141  the reader of the output went away

An error says what to do and never repeats a value that was given: errors end up in logs. With --json the line is
{"error":{"code","message","evidence"}}.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec
import typer

from api.cli.output import encode, printable
from api.demo.people import DemoExtraMissing
from ledger.errors import (
    Busy,
    Conflict,
    Evidence,
    LedgerError,
    Refused,
    RolledBack,
    Stopped,
    StorageError,
    Tampered,
    Uncosigned,
    VerificationError,
)

DONE: Final = 0
REFUSED: Final = 1
CANNOT: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT
READER_GONE: Final = 141  # 128 + SIGPIPE

_PUBLIC_WORD: Final = re.compile(r"-{0,2}[a-z][a-z-]{0,31}")


class Failure(msgspec.Struct, frozen=True):
    """What went wrong, in words that may stand in a log."""

    code: str
    message: str
    exit_code: int = CANNOT
    evidence: Mapping[str, Evidence] = msgspec.field(default_factory=dict)

    def document(self) -> dict[str, object]:
        # A message may name a path, and a path may hold bytes that are no text; JSON is text.
        message = self.message.encode("utf-8", "replace").decode()
        return {"error": {"code": self.code, "message": message, "evidence": dict(self.evidence)}}


class Usage(Exception):
    """The command line asks for something that is not possible; the message says what would be."""


def failure_of(error: BaseException) -> Failure:
    """Return what to say about an error. The order of the cases is from the special to the general."""
    match error:
        case Usage():
            return Failure("usage", str(error))
        case Refused():
            evidence = dict(error.evidence) | ({} if error.index is None else {"recorded_at_index": error.index})
            return Failure(error.code, str(error), REFUSED, evidence)
        case Conflict():
            code = "busy" if isinstance(error, Busy) else "conflict"
            return Failure(code, f"{error}; nothing was recorded, try again", REFUSED)
        case VerificationError():
            kinds = ((Tampered, "tampered"), (RolledBack, "rolled-back"), (VerificationError, "verification-failed"))
            code = next(word for kind, word in kinds if isinstance(error, kind))
            return Failure(code, str(error), REFUSED, {"step": error.step})
        case Uncosigned():
            return Failure("uncosigned", str(error), REFUSED, {"recorded_at_index": error.index})
        case StorageError():
            return Failure("stopped" if isinstance(error, Stopped) else "storage", str(error))
        case LedgerError():
            return Failure("failed", str(error), REFUSED)
        case DemoExtraMissing():
            return Failure("demo-extra-missing", str(error))
        case typer.Abort():
            return Failure("usage", "no value was given on standard input")
        case OSError():
            return Failure("system", f"the system refused ({error.strerror or type(error).__name__})")
    if hasattr(error, "format_message"):
        return Failure("usage", _usage(error))
    # A bug of ours. Its message may hold anything, its place does not.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return Failure("internal", f"a fault in this program ({place}); please report it")


def report(failure: Failure, *, as_json: bool) -> None:
    """Print the one line about a failure to standard error."""
    line = encode(failure.document()) if as_json else f"prooftrail: {printable(failure.message)}"
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _usage(error: Any) -> str:
    """Say what is wrong with a command line, without the value that is wrong: it may be somebody's address."""
    kind, message = type(error).__name__, str(error.message)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "prooftrail"
    hint = f" (see: {command} --help)"
    if kind == "NoSuchOption":
        option = str(error.option_name)
        near = [word for word in getattr(error, "possibilities", None) or () if _PUBLIC_WORD.fullmatch(word)]
        name = f" {option}" if _PUBLIC_WORD.fullmatch(option) else ""
        return f"there is no such option{name}{'; did you mean ' + near[0] + '?' if near else ''}{hint}"
    if kind == "MissingParameter":
        return f"{_name(error.param)} is needed{hint}"
    if kind == "BadParameter":
        return f"{_parameter(error)}{hint}"
    if message.startswith("No such command"):
        word = re.search(r"'([^']*)'", message)
        name = f" {word[1]}" if word and _PUBLIC_WORD.fullmatch(word[1]) else ""
        near_word = re.search(r"Did you mean '([a-z-]+)'", message)
        return f"there is no such command{name}{'; did you mean ' + near_word[1] + '?' if near_word else ''}{hint}"
    if message.startswith("Missing command"):
        return f"a command is needed{hint}"
    if "unexpected extra argument" in message:
        return f"an argument too many; personal values are read from a file or from standard input{hint}"
    option = str(getattr(error, "option_name", None) or "")
    return f"this is not how the command is used{': ' + option if _PUBLIC_WORD.fullmatch(option) else ''}{hint}"


def _parameter(error: Any) -> str:
    """Say what a parameter takes; the message of the parser would repeat the value that was given."""
    parameter = error.param
    return f"{_name(parameter)}: takes {_taken(parameter) or getattr(parameter, 'metavar', None) or 'another value'}"


def _taken(parameter: Any) -> str:
    """Say which values there are, "" where only the parameter's own word for them says more."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(one.value) for one in kind)}"
    if kind is int:
        low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
        return f"a whole number{'' if low is None else f' from {low}'}{'' if high is None else f' up to {high}'}"
    return ""


def _name(parameter: Any) -> str:
    """Return how people write a parameter: `--option`, or the word that stands for an argument."""
    names = [str(name) for name in getattr(parameter, "opts", None) or ()]
    options = [name for name in names if name.startswith("--")]
    return options[0] if options else str(getattr(parameter, "metavar", None) or (names or ["a value"])[0])
