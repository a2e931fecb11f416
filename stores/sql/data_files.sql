-- data_files.sql: every file that a snapshot of the lake needs, with its checksum if one is kept.
-- In: `metadata`, which stands for the catalog's schema.  Out: path (relative to the data path unless absolute), table_name,
-- kind (rows, or deletions), rows, size_bytes, current (the newest snapshot needs it), begin_snapshot (the first that needs
-- it), end_snapshot (the first that no longer does; NULL: none), sha256; ordered by path.
WITH tables AS (
  SELECT
    table_id,
    any_value(table_name ORDER BY t.begin_snapshot DESC) AS table_name,
    any_value(CASE WHEN t.path_is_relative THEN s.path ELSE '' END || t.path) AS folder
  FROM metadata.ducklake_table AS t
  JOIN metadata.ducklake_schema AS s USING (schema_id)
  GROUP BY table_id
), files AS (
  SELECT table_id, path, path_is_relative, 'rows' AS kind, record_count AS rows, file_size_bytes, begin_snapshot, end_snapshot
  FROM metadata.ducklake_data_file
  UNION ALL
  SELECT table_id, path, path_is_relative, 'deletions', delete_count, file_size_bytes, begin_snapshot, end_snapshot
  FROM metadata.ducklake_delete_file
)
SELECT
  CASE WHEN path_is_relative THEN folder ELSE '' END || files.path AS path,
  table_name,
  kind,
  rows,
  file_size_bytes AS size_bytes,
  end_snapshot IS NULL AS current,
  begin_snapshot,
  end_snapshot,
  sha256
FROM files
JOIN tables USING (table_id)
LEFT JOIN (SELECT path, max(sha256) AS sha256 FROM metadata.factory_checksums GROUP BY path) AS known
  ON known.path = CASE WHEN path_is_relative THEN folder ELSE '' END || files.path
ORDER BY ALL;
