-- read_1.sql: the tables that schema version 2 changed, shown in version 2's shape from version 1.
CREATE TEMP VIEW nodes AS SELECT *, NULL::VARCHAR AS flaw FROM lake.nodes;
