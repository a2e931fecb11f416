-- scheduled_files.sql: files that no snapshot needs any more since some were expired, and that are still there.
-- In: `metadata`, which stands for the catalog's schema.  Out: path (relative to the data path unless absolute).
SELECT path
FROM metadata.ducklake_files_scheduled_for_deletion
ORDER BY path;
