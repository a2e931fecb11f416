-- facet_run.sql: filtered trees by run. {trees}: the filtered trees. Out: value, trees.
SELECT run_id AS value, count(*) AS trees
FROM ({trees})
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 30;
