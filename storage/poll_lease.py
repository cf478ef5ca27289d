"""One poller an account, on any number of hosts: a row taken by compare-and-set.

The times are those of the hosts' clocks. Clocks that differ by more than the lease cost a few refused polls,
never a message: Telegram itself lets only one poller through, and acceptance knows what came before.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from datetime import datetime, timedelta

import psutil
from sqlalchemy import Table, delete, select, update
from sqlmodel import Session

from storage.models import PollLease
from storage.rows import insert_ignoring

_lease: Table = PollLease.__table__  # type: ignore[attr-defined]


def new_owner() -> str:
    """A name for one poller: its host, its process, and a random part (at most 36 characters)."""
    return f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"


def acquire(session: Session, *, channel: str, account: str, owner: str, now: datetime, lease: timedelta) -> bool:
    """Take the lease, or prolong one's own, until ``now + lease``. False: another poller has it.

    A lease that ran out can be taken, and at once one whose process on this host is dead.
    """
    mine = (_lease.c.channel == channel) & (_lease.c.account == account)
    connection = session.connection()
    found = connection.execute(select(_lease).where(mine)).one_or_none()
    if found is None:
        row = {"channel": channel, "account": account, "owner": owner, "until": now + lease}
        insert_ignoring(session.connection(), _lease, [row])
        return connection.execute(select(_lease.c.owner).where(mine)).scalar_one_or_none() == owner
    if found.owner != owner and found.until > now and not _abandoned(found.owner):
        return False
    taken = connection.execute(
        update(_lease)
        .where(mine, _lease.c.owner == found.owner, _lease.c.until == found.until)
        .values(owner=owner, until=now + lease)
    )
    return taken.rowcount == 1


def release(session: Session, *, channel: str, account: str, owner: str) -> None:
    """Give the lease up; nothing happens when another poller has it by now."""
    session.connection().execute(
        delete(_lease).where(_lease.c.channel == channel, _lease.c.account == account, _lease.c.owner == owner)
    )


def _host() -> str:
    """This host and process namespace: containers may share a name, or the numbers of processes."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return hashlib.sha256(f"{socket.gethostname()}/{namespace}".encode()).hexdigest()[:12]


def _abandoned(owner: str) -> bool:
    """Whether the process that took the lease ran here and is gone."""
    host, _, rest = owner.partition(".")
    pid = rest.partition(".")[0]
    return host == _host() and pid.isdigit() and not psutil.pid_exists(int(pid))
