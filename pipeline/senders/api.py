"""Way out of the generic JSON channel: the caller reads the answer by message id."""

from pipeline.senders.base import PullSender


class ApiSender(PullSender):
    """Answers wait in SQL for ``GET /api/v1/messages/{id}``."""
