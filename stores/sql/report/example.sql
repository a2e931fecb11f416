-- example.sql: one accepted tree of a run that tells most: short enough to read, then deepest, then of most nodes.
-- In: $run_id. Out: tree_id, pair_id; no row or one.
SELECT p.tree_id, p.pair_id
FROM accepted_pairs AS p
JOIN trees AS t USING (tree_id)
JOIN nodes AS n ON n.node_id = p.node_id
WHERE p.run_id = $run_id
ORDER BY t.nodes_expanded <= 12 AND length(p.prompt) + length(p.chosen) + length(p.rejected) <= 2500 DESC,
  n.depth DESC, t.nodes_expanded DESC, p.tree_id
LIMIT 1;
