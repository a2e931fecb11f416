-- refined_over_failed.sql: a search's accepted refinement over the failed answer it started from (SPaR, arXiv:2412.11605).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run).
-- Out: one row per accepted tree, including best_of_n: its accepted node's response over its root's.
SELECT t.prompt_id, accepted.response_id AS chosen_response_id, t.root_response_id AS rejected_response_id,
  accepted.value AS chosen_value, root.value AS rejected_value, t.tree_id, accepted.node_id
FROM trees AS t
JOIN nodes AS accepted ON accepted.node_id = t.accepted_node_id
JOIN nodes AS root ON root.tree_id = t.tree_id AND root.parent_node_id IS NULL
WHERE t.run_id = $run_id AND coalesce(list_contains($prompt_ids, t.prompt_id), true)
  AND accepted.response_id IS NOT NULL
ORDER BY t.tree_id;
