"""The safety net: what the broker never got, or a dead worker left behind, is found in SQL and goes on."""

from __future__ import annotations

from celery import Celery

from ragline.logs import get_logger
from storage import outbox
from storage.stalled import stalled
from workers.opening import open_turns, submit
from workers.runtime import Runtime
from workers.sending import SenderDied, settle_ambiguous

log = get_logger(__name__)


def sweep(runtime: Runtime, app: Celery) -> list[str]:
    """Open turns for waiting messages, go on with overdue turns, give up dead calls; return the outbox rows to send."""
    settings, now = runtime.settings, runtime.clock()
    with runtime.database.read() as session:
        dead = outbox.abandoned(session, now=now)
    for row_id, attempt, channel, account in dead:
        died = SenderDied("the process that was sending it ended")
        settle_ambiguous(runtime, row_id, attempt, channel, account, died)
    runtime.spending.release_dead()
    found = runtime.database.commit(lambda connection: stalled(connection, now=now, patience=settings.turn.patience))
    for turn_id, step in found.turns:
        submit(app, turn_id, step)
    open_turns(runtime, app, found.conversations)
    with runtime.database.read() as session:
        due = outbox.due(session, now=now)
    if dead or found.turns or found.conversations or due:
        log.info(
            "swept", turns=len(found.turns), conversations=len(found.conversations), rows=len(due), abandoned=len(dead)
        )
    return due
