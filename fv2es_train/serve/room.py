"""Room for connections and for bytes of uploads: limits, and which guest leaves a full room."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol


class Guest(Protocol):
    """A user of room: a connection or an upload, and the network it comes from."""

    address: str

    def stalled_s(self) -> float:
        """Seconds since its last progress; 0 if it must keep its room."""

    def give_up(self) -> None:
        """End the guest, because its room is needed."""


class Room:
    """Room in total and per address. If it is full, the most stalled guest leaves."""

    def __init__(self, in_all: int, per_address: int) -> None:
        self._in_all, self._per_address = in_all, per_address
        self._guests: dict[Guest, int] = {}
        self._of_address: Counter[str] = Counter()

    def take(self, guest: Guest, amount: int = 1) -> bool:
        """Give a guest more room; False if there is none and no guest can leave."""
        while self._of_address[guest.address] + amount > self._per_address:
            same = [one for one in self._guests if one.address == guest.address]
            if not self._drop_one(same, guest):
                return False
        while self._of_address.total() + amount > self._in_all:
            if not self._drop_one(list(self._guests), guest):
                return False
        self._guests[guest] = self._guests.get(guest, 0) + amount
        self._of_address[guest.address] += amount
        return True

    def leave(self, guest: Guest) -> None:
        """Free the room of a guest, if it has any."""
        self._of_address[guest.address] -= self._guests.pop(guest, 0)
        if self._of_address[guest.address] <= 0:
            del self._of_address[guest.address]

    def _drop_one(self, guests: list[Guest], new: Guest) -> bool:
        others = [(one.stalled_s(), one) for one in guests if one is not new]
        stalled_s, slowest = max(others, key=lambda other: other[0], default=(0.0, new))
        if stalled_s <= 0:
            return False
        self.leave(slowest)
        slowest.give_up()
        return True


def network(client: tuple[str, int] | None) -> str:
    """The address that limits apply to: an IPv4 address, or the /64 network of an IPv6 address."""
    host = plain_ip(client[0]) if client else ""
    try:
        ip = ip_address(host)
    except ValueError:
        # A proxy may send any text as the address of its client.
        return host
    return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else host


def plain_ip(host: str) -> str:
    """Normalize an address: without zone, and IPv4 for an IPv4-mapped IPv6 address."""
    host = host.partition("%")[0]
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    return str((ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip)
