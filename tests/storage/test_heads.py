"""Trained heads in SQL: the newest serves, a few are kept."""

from storage import heads
from storage.session import Database


def test_the_newest_of_a_model_serves_and_old_ones_go(database: Database) -> None:
    with database.read() as session:
        assert heads.newest(session, "m") is None
        assert not heads.is_current(session, "r1", "m")
    ids = [heads.put(database, revision, "m", revision.encode()) for revision in ("r1", "r2", "r3")]
    heads.put(database, "r1", "other", b"")
    with database.read() as session:
        assert heads.newest(session, "m") == ids[-1]
        assert heads.is_current(session, "r3", "m")
        assert not heads.is_current(session, "r2", "m")
        assert [heads.read(session, head_id) for head_id in ids] == [None, b"r2", b"r3"]
