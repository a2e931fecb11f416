-- read_3.sql: the tables that schema version 4 changed, shown in version 4's shape from version 3.
CREATE TEMP VIEW calls AS SELECT *, NULL::VARCHAR[] AS reasonings, NULL::VARCHAR AS note FROM lake.calls;
CREATE TEMP VIEW responses AS
SELECT r.*, CASE WHEN regexp_matches(text, '[^\s\p{Z}]') THEN flaw ELSE 'empty' END AS flaw
FROM lake.responses AS r
LEFT JOIN (SELECT response_id, flaw FROM nodes WHERE flaw IS NOT NULL) USING (response_id);
