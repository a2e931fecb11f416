-- rows_compared.sql: how many rows of two tables are the same.
-- In:  rows_of_then and rows_of_now (id, content).  Out: one row: same, missing, new, changed, first (the smallest id that
-- differs; NULL: none).
SELECT
  count(*) FILTER (t.content = n.content) AS same,
  count(*) FILTER (n.id IS NULL) AS missing,
  count(*) FILTER (t.id IS NULL) AS new,
  count(*) FILTER (t.content <> n.content) AS changed,
  min(coalesce(t.id, n.id)) FILTER (t.content IS DISTINCT FROM n.content) AS first
FROM rows_of_then AS t
FULL JOIN rows_of_now AS n ON n.id = t.id;
