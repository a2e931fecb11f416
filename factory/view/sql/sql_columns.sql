-- sql_columns.sql: the columns of the lake's tables and of the views over them, in order.
SELECT table_name, column_name
FROM duckdb_columns()
WHERE (database_name = 'lake' AND schema_name = 'main') OR (database_name = 'temp' AND NOT internal)
ORDER BY table_name, column_index;
