-- 002_flaws_of_refinements.sql: what is wrong with a refined answer whatever its judge says.
ALTER TABLE lake.nodes ADD COLUMN flaw VARCHAR;
