-- 004_reasonings_and_flaws.sql: thinking split off from texts, notes on odd replies, flaws of every response.
ALTER TABLE lake.calls ADD COLUMN reasonings VARCHAR[];
ALTER TABLE lake.calls ADD COLUMN note VARCHAR;
ALTER TABLE lake.responses ADD COLUMN flaw VARCHAR;
UPDATE lake.responses AS r SET flaw = n.flaw FROM lake.nodes AS n WHERE n.response_id = r.response_id AND n.flaw IS NOT NULL;
UPDATE lake.responses SET flaw = 'empty' WHERE NOT regexp_matches(text, '[^\s\p{Z}]');
