"""Which servers are spoken to: every way to write, or to wrap, an address of our own machine is refused."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ledger.addresses import MAX_NETWORKS, Url, check_address, parse_networks, parse_url
from ledger.errors import AddressRefused, Invalid

GOOD = {
    "https://id.example.com": Url("https", "id.example.com", 443, "", ""),
    "https://ID.Example.com/": Url("https", "id.example.com", 443, "/", ""),
    "http://id.example.com:8080/a/b?c=d": Url("http", "id.example.com", 8080, "/a/b", "?c=d"),
    "http://127.0.0.1:1": Url("http", "127.0.0.1", 1, "", ""),
    "https://[2606:4700::1111]/x": Url("https", "2606:4700::1111", 443, "/x", ""),
    "http://[::1]:80": Url("http", "::1", 80, "", ""),
    "http://localhost": Url("http", "localhost", 80, "", ""),
    "https://xn--tide-3qa.example/": Url("https", "xn--tide-3qa.example", 443, "/", ""),
    "https://7.example": Url("https", "7.example", 443, "", ""),
}

BAD = """
ftp://id.example.com | file:///etc/passwd | id.example.com | https:id.example.com | https:/id.example.com | https://
https://user@id.example.com | https://user:word@id.example.com | https://id.example.com@127.0.0.1 | https://id.example.com#@x
https://id.example.com\\@127.0.0.1 | https://127.0.0.1%2eexample.com | https://id.example.com:0 | https://id.example.com:65536
https://id.example.com:443:80 | https://id.example.com: | https://id..example.com | https://id.example.com. | https://localhost.
https://-id.example.com | https://id-.example.com | https://id_x.example.com | https://.example.com | https://ıd.example.com
http://0x7f.1 | http://0x7f000001 | http://2130706433 | http://017700000001 | http://0177.0.0.1 | http://127.1 | http://127.0.1
http://127.0.0.01 | http://127.0.0.1. | http://0 | http://0.0.0.0 | http://1.2.3.4.5 | http://id.example.0x7f | http://127.0.0.1.1
http://[::ffff:127.0.0.1] | http://[::ffff:7f00:1] | http://[::127.0.0.1] | http://[64:ff9b::7f00:1] | http://[64:ff9b::127.0.0.1]
http://[64:ff9b:1::7f00:1] | http://[2002:7f00:1::] | http://[2001:0:7f00:1::] | http://[::] | http://[0:0:0:0:0:0:0:1]
http://[::0001] | http://[::1%25lo] | http://[fe80::1] | http://[::1 | http://::1 | http://[127.0.0.1] | http://[ff02::1]
http://169.254.169.254/latest | http://224.0.0.1 | http://255.255.255.255 | http://[fec0::1] | http://①②⑦.⓪.⓪.①
""".replace("\n", " | ")


@pytest.mark.parametrize("text", GOOD)
def test_a_url_has_one_reading(text: str) -> None:
    assert parse_url(text, "url") == GOOD[text]


@pytest.mark.parametrize(
    "text", [*(word.strip() for word in BAD.split("|") if word.strip()), "", "https://a b", "https://a\n"]
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as error:
        parse_url(text, "url")
    assert "127" not in str(error.value)


def test_an_endless_url_is_refused() -> None:
    parse_url("https://id.example.com/" + "a" * 2_000, "url")
    with pytest.raises(Invalid):
        parse_url("https://id.example.com/" + "a" * 3_000, "url")


NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fe80::1",
    "fe80::1%2",
    "ff02::1",
    "fec0::1",
    "192.88.99.1",
    "localhost",
    "127.1",
]
PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "::1",
    "fd00::1",
    "2001:db8::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "193.40.0.1", "2606:4700::1111", "2001:4860:4860::8888"]
EVERYTHING = parse_networks("0.0.0.0/0 ::/0", "networks")


@pytest.mark.parametrize("text", NEVER)
def test_an_address_that_stands_for_another_is_refused_even_when_listed(text: str) -> None:
    for networks in ((), EVERYTHING):
        with pytest.raises(AddressRefused):
            check_address(text, networks)


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_public_is_spoken_to_when_listed(text: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(text, ())
    with pytest.raises(AddressRefused):
        check_address(text, parse_networks("10.99.0.0/16, fd99::/16", "networks"))
    assert str(check_address(text, (ip_network(text),))) == text


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_spoken_to(text: str) -> None:
    assert str(check_address(text, ())) == text


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "ten", "10.0.0.0/33", "10.0.0.0/8;", " ".join(["10.0.0.0/8"] * (MAX_NETWORKS + 1))]
)
def test_a_list_of_networks_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_networks(text, "networks")
    assert parse_networks("", "networks") == ()
    assert len(parse_networks("10.0.0.0/8,fd00::/8 127.0.0.1", "networks")) == 3
