-- expirable_snapshots.sql: snapshots older than $older_than that are neither the newest nor pinned.
SELECT snapshot_id
FROM lake.snapshots()
WHERE snapshot_time < $older_than
  AND snapshot_id NOT IN (SELECT snapshot FROM training_sets)
  AND snapshot_id <> (SELECT max(snapshot_id) FROM lake.snapshots())
ORDER BY snapshot_id;
