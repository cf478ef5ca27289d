"""The tasks: each decodes its arguments, calls one function, and passes on what that leaves to do.

Arguments are ids, so that they can be shown in Flower and logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from celery.exceptions import Ignore

from pipeline.embedders import open_embedder
from ragline.errors import RaglineError
from storage import outbox, turns
from storage.index import bring_up_to_date
from storage.outbox import Sending
from workers.app import app
from workers.base import BaseTask
from workers.media import clean_files
from workers.opening import open_turns as open_due_turns
from workers.opening import start
from workers.sending import send_rows
from workers.steps import StepHeld, StepRetry, run_step
from workers.sweeper import sweep as sweep_database


class StepFailed(RaglineError):
    """A turn failed for good; its row says why. Raised so that the task shows as failed and its chain ends."""


class StepTask(BaseTask):
    """One step of a turn. The chain goes on when :meth:`do` returns, and ends when it raises."""

    abstract = True
    #: Whether this worker has the senders; others hand what is to be sent to the io queue.
    sends = False

    def do(self, turn_id: str, step: str) -> None:
        try:
            outcome = run_step(self.runtime, turn_id, step)
        except StepHeld:
            raise Ignore from None
        except StepRetry as error:
            raise self.retry(exc=error, countdown=error.retry_after) from error
        if self.sends:
            self.send(outcome.rows, outcome.first)
        else:
            for row_id in outcome.rows:
                self.send_later("ragline.send", [row_id])
        if outcome.turn_over:
            self.runtime.announce(outcome.conversation_id)
            self.look_again(outcome.conversation_id)
        if outcome.failure:
            raise StepFailed(outcome.failure)

    def send(self, row_ids: list[str], first: Sending | None = None) -> None:
        """Send rows of one turn in order; what must wait comes back as a task of its own."""
        outcome, later = send_rows(self.runtime, row_ids, first)
        for row_id, due in later.items():
            self.send_later("ragline.send", [row_id], countdown=self.seconds_until(due))
        if outcome.following:
            conversation, opened = outcome.following
            if again := start(self.runtime, self.app, conversation, opened):
                self.look_later({conversation.id: again})
        elif outcome.closed and outcome.closed.more:
            self.look([outcome.closed.conversation_id])

    def look_again(self, conversation_id: str) -> None:
        """After a turn closed: messages that came meanwhile make the next one."""
        with self.runtime.database.read() as session:
            if not turns.has_waiting(session.connection(), conversation_id):
                return
        self.look([conversation_id])

    def look(self, conversation_ids: Iterable[str]) -> None:
        """Open what is due and come back for the rest."""
        self.look_later(open_due_turns(self.runtime, self.app, conversation_ids))

    def look_later(self, later: dict[str, datetime]) -> None:
        """Come back for conversations whose burst may still go on."""
        for conversation_id, due in later.items():
            self.send_later("ragline.open_turns", [[conversation_id]], countdown=self.seconds_until(due))

    def seconds_until(self, due: datetime) -> float:
        """Seconds from now, never more than a minute: the sweeper sees to the rest."""
        return min(max((due - self.runtime.clock()).total_seconds(), 0.05), 60.0)


@app.task(base=StepTask, bind=True, name="ragline.understand")
def understand(self: StepTask, turn_id: str) -> None:
    """What the files of the messages say."""
    self.do(turn_id, "understand")


@app.task(base=StepTask, bind=True, name="ragline.classify")
def classify(self: StepTask, turn_id: str) -> None:
    """Language and kind of request."""
    self.do(turn_id, "classify")


@app.task(base=StepTask, bind=True, name="ragline.retrieve")
def retrieve(self: StepTask, turn_id: str) -> None:
    """Passages of the knowledge base, with a confidence."""
    self.do(turn_id, "retrieve")


@app.task(base=StepTask, bind=True, name="ragline.generate", sends=True)
def generate(self: StepTask, turn_id: str) -> None:
    """The answer."""
    self.do(turn_id, "generate")


@app.task(base=StepTask, bind=True, name="ragline.deliver", sends=True)
def deliver(self: StepTask, turn_id: str) -> None:
    """The answer's parts into the outbox, and out."""
    self.do(turn_id, "deliver")


@app.task(base=StepTask, bind=True, name="ragline.send")
def send(self: StepTask, row_id: str) -> None:
    """One outbox row that had to wait, and the later parts of its turn."""
    with self.runtime.database.read() as session:
        row_ids = outbox.parts_from(session, row_id)
    self.send(row_ids)


@app.task(base=StepTask, bind=True, name="ragline.open_turns")
def open_turns(self: StepTask, conversation_ids: list[str]) -> None:
    """Turns for conversations with something new."""
    self.look(conversation_ids)


@app.task(base=StepTask, bind=True, name="ragline.sweep")
def sweep(self: StepTask) -> None:
    """What was lost on the way goes on."""
    for row_id in sweep_database(self.runtime, self.app):
        self.send_later("ragline.send", [row_id])


@app.task(base=BaseTask, bind=True, name="ragline.sync_index")
def sync_index(self: BaseTask) -> None:
    """The vector index after a change of the knowledge base."""
    bring_up_to_date(self.runtime.settings, self.runtime.database, partial(open_embedder, self.runtime.settings))


@app.task(base=BaseTask, bind=True, name="ragline.train_head")
def train_head(self: BaseTask) -> None:
    """A classifier of this very base, where the newest one is of an older."""
    from pipeline.training import train_configured

    train_configured(self.runtime.settings, self.runtime.database, self.runtime.encoded)


@app.task(base=BaseTask, bind=True, name="ragline.clean_media")
def clean_media(self: BaseTask) -> None:
    """Files of customers that are past their time."""
    clean_files(self.runtime)
