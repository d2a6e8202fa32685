"""Room for connections and uploads: how many there may be, and which makes room for a newer one."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol


class Guest(Protocol):
    """What takes a place: a connection or an upload, and the network it comes from."""

    address: str

    def stalled_s(self) -> float:
        """Seconds since it last got on; 0 if it must keep its place."""

    def give_up(self) -> None:
        """End it, because its place is needed."""


class Room:
    """Places in all, and for each address. If all are taken, the most stalled guest leaves."""

    def __init__(self, in_all: int, per_address: int) -> None:
        self._in_all, self._per_address = in_all, per_address
        self._guests: set[Guest] = set()

    def enter(self, new: Guest) -> bool:
        """Whether there is a place for a guest, or one could be made."""
        same = [guest for guest in self._guests if guest.address == new.address]
        if len(same) >= self._per_address and not self._drop_from(same):
            return False
        if len(self._guests) >= self._in_all and not self._drop_from(self._guests):
            return False
        self._guests.add(new)
        return True

    def leave(self, guest: Guest) -> None:
        """Free its place, if it has one."""
        self._guests.discard(guest)

    def _drop_from(self, guests: list[Guest] | set[Guest]) -> bool:
        slowest = max(guests, key=lambda guest: guest.stalled_s())
        if slowest.stalled_s() <= 0:
            return False
        self.leave(slowest)
        slowest.give_up()
        return True


def network(client: tuple[str, int] | None) -> str:
    """The address that limits count for: an IPv4 address, or the /64 network of an IPv6 one."""
    host = plain_ip(client[0]) if client else ""
    try:
        ip = ip_address(host)
    except ValueError:
        # A proxy may send anything as its client's address.
        return host
    return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else host


def plain_ip(host: str) -> str:
    """An address without its zone; IPv4 as such where IPv6 maps it."""
    host = host.partition("%")[0]
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    return str((ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip)
