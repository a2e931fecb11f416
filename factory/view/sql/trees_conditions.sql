-- trees_conditions.sql: what a filter of the tree table asks of a row of `trees`: `-- name`, then its condition.
-- run
run_id = $run
-- recipe
run_id IN (SELECT run_id FROM current_runs WHERE recipe_name = $recipe)
-- round
run_id IN (SELECT run_id FROM current_runs WHERE iteration = $round)
-- model
(run_id, stage) IN (SELECT DISTINCT run_id, stage FROM responses JOIN models USING (model_id) WHERE name = $model AND kind IN ('refined', 'resampled'))
-- constraint
prompt_id IN (SELECT prompt_id FROM prompts WHERE list_contains(list_transform(constraints, lambda c: c.id), $constraint))
-- prompt
prompt_id = $prompt
-- outcome
outcome = $outcome
-- depth
tree_id IN (SELECT tree_id FROM nodes GROUP BY tree_id HAVING max(depth) = $depth)
-- flaw
tree_id IN (SELECT tree_id FROM nodes WHERE flaw = $flaw)
-- value
tree_id IN (SELECT tree_id FROM nodes WHERE depth > 0 GROUP BY tree_id HAVING least(floor(max(value) * 10), 9) = $value)
-- likeness
tree_id IN (SELECT tree_id FROM pairs WHERE least(floor(similarity * 10), 9) = $likeness)
