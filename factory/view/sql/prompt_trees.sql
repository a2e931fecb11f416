-- prompt_trees.sql: the trees of one prompt, by round. In: $prompt_id. Out: one row per tree.
SELECT tree_id, t.run_id, iteration AS round, recipe_name AS recipe, strategy, outcome, nodes_expanded
FROM (FROM trees WHERE prompt_id = $prompt_id) AS t
LEFT JOIN (SELECT run_id, iteration, recipe_name, started_at FROM current_runs) AS r ON r.run_id = t.run_id
ORDER BY iteration, started_at, t.run_id, tree_id
LIMIT 200;
