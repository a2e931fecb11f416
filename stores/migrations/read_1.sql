-- read_1.sql: the tables of schema version 1 that version 2 changed, as version 2 has them.
CREATE TEMP VIEW nodes AS SELECT *, NULL::VARCHAR AS flaw FROM lake.nodes;
