"""Whether a subject is registered, and in which role."""

from __future__ import annotations

from ledger.command import Boundary, Past, selector
from ledger.errors import SubjectUnknown
from ledger.events import SubjectRegistered
from ledger.keys import KeyScope
from ledger.vocabulary import RetentionClass, SubjectId, subject_tag


def registration(subject_id: SubjectId) -> Boundary:
    """The boundary of `registered`."""
    return (selector(SubjectRegistered, tags=[subject_tag(subject_id)]),)


def registered(past: Past, subject_id: SubjectId) -> SubjectRegistered:
    """Return the registration of a subject. Raises SubjectUnknown."""
    for event in past.of(SubjectRegistered):
        if event.subject_id == subject_id:
            return event
    raise SubjectUnknown(subject=subject_id)


def scope(subject: SubjectRegistered, retention_class: RetentionClass) -> KeyScope:
    """The key scope of a subject's data in a retention class."""
    return KeyScope(subject.subject_id, subject.role, retention_class)
