"""A lake's files: small ones merged, those of old snapshots removed. No row of the newest snapshot changes."""

from datetime import datetime

from stores.lake import Lake
from stores.sql import sql


def most_files(lake: Lake) -> int:
    """The number of data files of the table with the most."""
    return int(lake.query("SELECT max(file_count) FROM ducklake_table_info('lake')").column(0)[0].as_py())


def compact(lake: Lake) -> None:
    """Merges small files; no row changes."""
    # One file per table at a time: it is sorted in memory, which all of a table's files at once may exceed.
    merge = "SELECT sum(files_processed - files_created) FROM ducklake_merge_adjacent_files('lake', max_compacted_files => 1)"
    with lake.one_thread():
        while lake.written(lambda: lake.connection.execute(merge).fetchall())[0][0]:
            pass


def expire(lake: Lake, older_than: datetime) -> list[int]:
    """Drops snapshots older than `older_than`, but never the newest or one that a training set pins.

    Removes files that no snapshot needs any more, and returns the dropped snapshots.
    """

    def drop() -> list[int]:
        doomed: list[int] = lake.query(sql("expirable_snapshots"), {"older_than": older_than}).column(0).to_pylist()
        if doomed:
            versions = ", ".join(map(str, doomed))
            lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{versions}])")
        return doomed

    # In one transaction, so that a set pinned meanwhile keeps its snapshot.
    doomed = lake.in_transaction(drop)
    if doomed:
        clean_up(lake)
    return doomed


def clean_up(lake: Lake) -> None:
    """Removes the files that no snapshot needs any more."""
    lake.written(lambda: lake.connection.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)"))
