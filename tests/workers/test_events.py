"""Every task event reaches the broker, however many threads send at once."""

import threading
from typing import Any

from workers.app import app


def test_no_event_is_lost_between_threads() -> None:
    published: list[Any] = []
    dispatcher = app.events.Dispatcher(enabled=False, buffer_group=["task"], hostname="test")
    dispatcher.enabled = True

    def publish(events: Any, producer: Any, routing_key: str, **_: Any) -> None:
        taken = list(events)
        threading.Event().wait(0.001)  # the network
        published.extend(taken)

    dispatcher._publish = publish
    threads = [
        threading.Thread(target=lambda: [dispatcher.send("task-succeeded", uuid=str(n)) for n in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        dispatcher.flush()
    for thread in threads:
        thread.join()
    dispatcher.flush()
    assert len(published) == 8 * 200
