"""Way out of the website widget: the page reads the answer over server-sent events."""

from pipeline.senders.base import PullSender


class WidgetSender(PullSender):
    """Answers wait in SQL; a wake-up over Redis tells open pages to look."""

    #: A long title goes over several lines.
    button_width = 1000
