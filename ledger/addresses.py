"""Which servers are spoken to: URLs with one reading, addresses that are public or in networks that are listed.

What a name resolves to is somebody else's choice. So a name may lead to public addresses only, unless the operator
lists the network, and never to an address that stands for another (RFC 4291 §2.5.5, RFC 6052, RFC 3056, RFC 4380).
Against server-side request forgery (CWE-918).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from ledger.errors import AddressRefused, Invalid

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]
"""Networks whose addresses are spoken to although they are not public."""

MAX_NETWORKS: Final = 32
MAX_URL: Final = 2_048

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?)(?P<query>(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# A last label like these makes resolvers read the whole as a number: 127.1, 0x7f.1, 2130706433.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Ways to write one address inside another, and relays: the packet would go where no check looked.
_TRANSLATED: Final = tuple(
    ip_network(text)
    for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.88.99.0/24")
)


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL that every program reads as the same host; made by `parse_url`."""

    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int
    path: str  # "" or from "/" on
    query: str  # "" or from "?" on

    @property
    def literal(self) -> Address | None:
        """The address, where the host is one and no name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def parse_url(text: str, field: str) -> Url:
    """Return the URL. Raises Invalid naming `field`: for a user, a fragment, a host that could be read in two ways."""
    found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if found is None:
        raise Invalid(field, "is an http or https URL without user, fragment, space or any character that is not ASCII")
    scheme = found["scheme"]
    port = int(found["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65_536:
        raise Invalid(field, "has no port between 1 and 65535")
    return Url(scheme, _host(found["host"].lower(), field), port, found["path"], found["query"])


def _host(text: str, field: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    labels = text.split(".")
    try:
        address = ip_address(bare)
    except ValueError:
        if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
            raise Invalid(field, "names its host as a domain name, or as an address in its usual form") from None
        return text
    # One way to write an address: brackets around IPv6 only, shortest form, lower case.
    if (address.version == 6) != (bare != text) or str(address) != bare or _is_never(address):
        raise Invalid(field, "names its host by an address that stands for another, or is written in an unusual form")
    return bare


def check_address(text: str, networks: Networks) -> Address:
    """Return the address to connect to. Raises AddressRefused unless it is public, or in a network that is listed."""
    try:
        address = ip_address(text)
    except ValueError:
        raise AddressRefused("it has an address with a zone") from None
    if _is_never(address) or (address.version == 6 and address.scope_id is not None):
        raise AddressRefused("it has an address of a kind that no server has")
    if address.is_global or any(address in network for network in networks):
        return address
    raise AddressRefused("it has an address that is not public; list its network in PROOFTRAIL_PRIVATE_NETWORKS")


def _is_never(address: Address) -> bool:
    if address == IPv6Address("::1"):
        return False
    if address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved:
        return True
    return (address.version == 6 and address.is_site_local) or any(address in network for network in _TRANSLATED)


def parse_networks(text: str, field: str) -> Networks:
    """Return the networks of a list such as `10.0.0.0/8, fd00::/8`. Raises Invalid naming `field`."""
    try:
        found = tuple(ip_network(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise Invalid(field, "is a list of networks such as 10.0.0.0/8, 127.0.0.1/32, fd00::/8") from None
    if len(found) > MAX_NETWORKS:
        raise Invalid(field, f"lists at most {MAX_NETWORKS} networks")
    return found
