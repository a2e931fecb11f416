-- facet_outcome.sql: filtered trees by how the search ended. {trees}: the filtered trees. Out: value, trees.
SELECT outcome AS value, count(*) AS trees
FROM ({trees})
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 30;
