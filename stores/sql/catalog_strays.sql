-- catalog_strays.sql: a path in a DuckLake catalog that does not lie below its data path; a lake made here has none.
-- Asked of the catalog itself, SQLite or PostgreSQL. Out: path; at most one row.
SELECT path
FROM (
  SELECT path, path_is_relative FROM ducklake_data_file
  UNION ALL SELECT path, path_is_relative FROM ducklake_delete_file
  UNION ALL SELECT path, path_is_relative FROM ducklake_files_scheduled_for_deletion
  UNION ALL SELECT path, path_is_relative FROM ducklake_schema
  UNION ALL SELECT path, path_is_relative FROM ducklake_table
) AS paths
WHERE NOT path_is_relative OR path LIKE '%..%' OR path LIKE '/%' OR path LIKE '%://%'
ORDER BY path
LIMIT 1;
