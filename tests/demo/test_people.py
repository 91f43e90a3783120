"""The cast: numbers hold by a calculation of the test's own, nothing reaches a real person, seeds decide everything."""

from __future__ import annotations

import sys
from datetime import date
from random import Random

import pytest

from api.demo import people
from api.demo.people import Cast, DemoExtraMissing, personal_code

CROWD = 400


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast(7)


def mod97(iban: str) -> int:
    """ISO 7064 mod 97-10, digit by digit."""
    rest = 0
    for letter in iban[4:] + iban[:4]:
        for digit in str(int(letter, 36)):
            rest = (rest * 10 + int(digit)) % 97
    return rest


def isikukood_check(code: str) -> int:
    """The check digit as the register describes it: two rounds of weights that count on from 1 and from 3."""
    for start in (1, 3):
        total = 0
        for place in range(10):
            weight = (start + place - 1) % 9 + 1
            total += weight * int(code[place])
        if total % 11 != 10:
            return total % 11
    return 0


def test_personal_codes_agree_with_checksum_birth_date_and_sex(cast: Cast) -> None:
    for index in range(CROWD):
        person = cast.person(index)
        code = person.personal_code
        assert len(code) == 11
        assert int(code[10]) == isikukood_check(code)
        century = {"3": 1900, "4": 1900, "5": 2000, "6": 2000}[code[0]]
        assert date(century + int(code[1:3]), int(code[3:5]), int(code[5:7])) == person.born
        assert (int(code[0]) % 2 == 1) == (person.sex == "male")


def test_personal_code_reproduces_the_published_example() -> None:
    # The example of python-stdnum's module stdnum.ee.ik.
    assert personal_code(date(1968, 5, 28), "male", 10) == "36805280109"


def test_the_second_round_of_weights_is_reached_and_holds() -> None:
    codes = [personal_code(date(1990, 1, 1), "female", serial) for serial in range(1000)]
    second_round = [code for code in codes if sum((i % 9 + 1) * int(code[i]) for i in range(10)) % 11 == 10]
    assert second_round
    assert all(int(code[10]) == isikukood_check(code) for code in second_round)


def test_ibans_hold_by_mod_97_and_by_the_domestic_digit(cast: Cast) -> None:
    for index in range(CROWD):
        for iban in (cast.person(index).iban, cast.client(index).iban):
            assert len(iban) == 20
            assert mod97(iban) == 1
            domestic = sum(int(digit) * weight for digit, weight in zip(reversed(iban[8:]), (1, 7, 3) * 4, strict=True))
            assert domestic % 10 == 0


def test_domestic_digit_is_that_of_the_registry_example() -> None:
    # EE38 2200 2210 2014 5685: the example of the SWIFT IBAN registry.
    assert mod97("EE382200221020145685") == 1
    assert people.weighted_731("22102014568") == "5"


def test_no_account_can_be_a_real_one(cast: Cast) -> None:
    assert all(cast.person(index).iban[4] == "0" for index in range(CROWD))


def test_emails_stand_at_reserved_domains_and_are_unique(cast: Cast) -> None:
    emails = [cast.person(index).email for index in range(CROWD)]
    assert {email.partition("@")[2] for email in emails} == set(people.EMAIL_DOMAINS)
    assert all(email.isascii() and " " not in email for email in emails)
    assert len(set(emails)) == CROWD


def test_codes_and_companies_are_unique(cast: Cast) -> None:
    assert len({cast.person(index).personal_code for index in range(CROWD)}) == CROWD
    assert len({cast.client(index).registry_code for index in range(CROWD)}) == CROWD
    assert len({cast.client(index).name for index in range(CROWD)}) == CROWD


def test_registry_and_vat_numbers_hold_their_check_digits(cast: Cast) -> None:
    for index in range(CROWD):
        client = cast.client(index)
        digits = [int(digit) for digit in client.registry_code]
        first = sum(digits[place] * (place + 1) for place in range(7)) % 11
        second = sum(digits[place] * (place + 3) for place in range(7)) % 11
        assert digits[7] == (first if first < 10 else second % 10)
        vat = [int(digit) for digit in client.vat_number.removeprefix("EE")]
        assert sum(a * b for a, b in zip(vat, (3, 7, 1, 3, 7, 1, 3, 7, 1), strict=True)) % 10 == 0
        assert client.name.endswith((" OÜ", " AS"))


def test_the_same_seed_gives_the_same_cast_whatever_the_order_of_asking() -> None:
    forward, backward = Cast(3), Cast(3)
    people_forward = [forward.person(index) for index in range(30)]
    people_backward = [backward.person(index) for index in reversed(range(30))]
    assert people_forward == people_backward[::-1]
    assert forward.client(5) == backward.client(5)


def test_another_seed_gives_another_cast() -> None:
    assert [Cast(3).person(index) for index in range(9)] != [Cast(4).person(index) for index in range(9)]
    assert Cast(3).client(0) != Cast(4).client(0)


def test_without_faker_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faker", None)
    with pytest.raises(DemoExtraMissing, match=r"pip install 'prooftrail\[demo\]'"):
        Cast(1).person(0)


def test_phone_numbers_have_the_estonian_mobile_form() -> None:
    assert people.phone(Random(1)).startswith("+372 5")
