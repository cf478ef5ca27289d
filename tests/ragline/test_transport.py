"""The worker's broker connection keeps one Redis client a channel, and still reaches Redis after a reconnect."""

from celery import Celery

from ragline import transport
from workers.app import app


def test_the_workers_use_it(redis_url: str) -> None:
    mine = Celery("test", broker=redis_url, set_as_current=False)
    with mine.connection_for_write() as connection:
        assert type(connection.transport) is transport.Transport
        channel = connection.default_channel
        with channel.conn_or_acquire() as one, channel.conn_or_acquire() as other:
            assert one is other
            assert one.ping()
        channel._pool = None  # as after a lost connection
        with channel.conn_or_acquire() as again:
            assert again is not one
            assert again.ping()
    assert app.conf.task_send_sent_event is False
