-- 002_flaws_of_refinements.sql: flaws of a refinement that no judge is needed to see.
ALTER TABLE lake.nodes ADD COLUMN flaw VARCHAR;
