-- catalog_computed.sql: what makes an SQLite catalog say one thing to the one who checks it and another to the one who
-- reads it: views, triggers, virtual tables, generated columns. DuckLake makes none. Out: name; at most one row.
SELECT m.name
FROM sqlite_master AS m
LEFT JOIN pragma_table_xinfo(m.name) AS columns
WHERE m.type NOT IN ('table', 'index') OR m.sql LIKE 'CREATE VIRTUAL%' OR columns.hidden <> 0
ORDER BY m.name
LIMIT 1;
