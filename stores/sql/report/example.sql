-- example.sql: a run's most telling pair: short enough to read, then from the deepest and largest tree.
-- In: $run_id. Out: tree (NULL if it has none), pair: their ids; at most one row.
SELECT p.tree_id AS tree, p.pair_id AS pair
FROM pairs AS p
JOIN prompts AS q USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
LEFT JOIN trees AS t USING (tree_id)
LEFT JOIN nodes AS n ON n.node_id = p.node_id
WHERE p.run_id = $run_id
ORDER BY p.tree_id IS NOT NULL DESC,
  coalesce(t.nodes_expanded, 0) <= 12
    AND length(conversation(q.messages)) + length(chosen.text) + length(rejected.text) <= 2500 DESC,
  n.depth DESC, t.nodes_expanded DESC, p.tree_id, p.pair_id
LIMIT 1;
