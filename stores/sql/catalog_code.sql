-- catalog_code.sql: SQL text that a DuckLake catalog stores and DuckDB would execute. A lake of schema version 3 or later
-- has none. Asked of the catalog itself, SQLite or PostgreSQL. Out: kind, name, text; ordered by kind and name.
SELECT 'view' AS kind, view_name AS name, sql AS text FROM ducklake_view
UNION ALL
SELECT CASE WHEN type = 'table' THEN 'table macro' ELSE 'macro' END, macro_name, sql
FROM ducklake_macro_impl
JOIN ducklake_macro ON ducklake_macro.macro_id = ducklake_macro_impl.macro_id
UNION ALL
SELECT 'default', parameter_name, default_value FROM ducklake_macro_parameters WHERE default_value NOT IN ('NULL', '')
UNION ALL
SELECT 'default', column_name, default_value FROM ducklake_column WHERE default_value_type = 'expression'
UNION ALL
SELECT 'sort order', 'sort order', expression FROM ducklake_sort_expression WHERE expression <> 'response_id'
ORDER BY kind, name;
