"""Evidence: packages that a stranger verifies with one file, of an order, a person or a tag; or that there is none."""

from __future__ import annotations

from typing import Final

from api.http.ask import Ask
from api.http.operation import ZIP, Reply, Shows, query
from api.http.owners import people_of
from api.http.parameters import Parameter, moment
from api.http.secrecy import concerns_disclosure
from ledger.canonical import check_text
from ledger.command import Recorded, selector
from ledger.errors import Invalid, SubjectUnknown, VerificationError
from ledger.vocabulary import Tag, Word, subject_tag
from projections.evidence import verify
from projections.evidence.collect import DISCLOSED_FIELDS, collect_order, collect_tag
from projections.evidence.package import PackageContents, build_package

_FIELDS: Final = DISCLOSED_FIELDS | {"value"}


def _field(text: str, name: str) -> str:
    # A closed list, as what is sent here by mistake may be a value.
    if text not in _FIELDS and not (text.startswith("values.") and verify.is_field_name(text)):
        raise Invalid(name, f"is one of {', '.join(sorted(_FIELDS))}, values.NAME")
    return text


_DISCLOSE: Final = Parameter("disclose", "A personal field to disclose; may be repeated.", _field, many=True)
_AS_OF: Final = Parameter(
    "as_of", "And how it stood at this past moment.", moment, {"type": "string", "format": "date-time"}
)


@query(
    "prove-order", "/orders/{order_id}/evidence", shows=Shows.PERSONAL, result=bytes, parameters=(_DISCLOSE, _AS_OF),
    media_types=(ZIP,),
)  # fmt: skip
def prove_order(ask: Ask) -> Reply:
    """Get the evidence package of an order: all of its events, proven complete. Names no field: discloses its bytes."""
    disclose = ask.get("disclose")
    names = set(DISCLOSED_FIELDS if disclose is None else disclose)
    contents = collect_order(ask.ledger, ask.order_id, disclose=names, as_of=ask.get("as_of"))
    return _package(ask, contents, "order", names)


@query(
    "prove-subject", "/subjects/{subject_id}/evidence", shows=Shows.PERSONAL, result=bytes,
    parameters=(_DISCLOSE, _AS_OF), media_types=(ZIP,),
)  # fmt: skip
def prove_subject(ask: Ask) -> Reply:
    """Get the evidence package of a person: all events about them, proven complete. Discloses no field unless named."""
    names = set(ask.get("disclose") or ())
    # Asked first: a mistyped id must not make the log longer.
    if not ask.ledger.recall((selector(tags=[subject_tag(ask.subject_id)]),)):
        raise SubjectUnknown(subject=ask.subject_id)
    contents = collect_tag(
        ask.ledger, subject_tag(ask.subject_id), kind="subject", disclose=names, as_of=ask.get("as_of")
    )
    return _package(ask, contents, "subject", names)


@query(
    "prove-tag", "/evidence", shows=Shows.SEALED, result=bytes,
    parameters=(
        Parameter("tag", "What it is about, such as consent:ID.", check_text, required=True), _AS_OF,
    ),
    media_types=(ZIP,),
)  # fmt: skip
def prove_tag(ask: Ask) -> Reply:
    """Get the evidence package of a tag: all events that carry it, or that there is none. Discloses nothing."""
    if not (tag := Tag(ask.needed("tag"))):
        raise Invalid("tag", "is not empty")
    contents = collect_tag(ask.ledger, tag, as_of=ask.get("as_of"))
    return _package(ask, contents, "tag", set())


def _package(ask: Ask, contents: PackageContents, kind: str, names: set[str]) -> Reply:
    key = str(ask.ledger.verifier)
    package = build_package(contents, key=key)
    former = [verify.parse_key(one) for one in contents.former]
    report = verify.verify_package(package, verify.parse_key(key), former=former)
    if report.findings is None or report.failure is not None:
        # A stranger will do the same: what does not hold is not handed out.
        raise VerificationError("package", report.failure.why if report.failure else "no claim was proven")
    fields = tuple(Word(name.removeprefix("values.").replace("_", "-")) for name in sorted(names))
    headers = {"Content-Disposition": f'attachment; filename="evidence-{kind}.zip"'}
    # Everybody whom its entries are about; of a tag that nothing has, whom the tag names.
    tags = [Tag(contents.tag), *(tag for one in contents.entries for tag in Recorded.parse(one.entry).tags)]
    return Reply(
        body=package,
        media_type=ZIP,
        headers=headers,
        fields=fields,
        subjects=people_of(tags),
        secrets=concerns_disclosure(tags),
    )
