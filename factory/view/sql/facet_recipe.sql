-- facet_recipe.sql: filtered trees by recipe. {trees}: the filtered trees. Out: value, trees.
SELECT recipe_name AS value, sum(trees)::BIGINT AS trees
FROM (SELECT run_id, count(*) AS trees FROM ({trees}) GROUP BY run_id)
JOIN (SELECT run_id, recipe_name FROM current_runs) USING (run_id)
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 30;
