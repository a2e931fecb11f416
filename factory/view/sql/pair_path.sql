-- pair_path.sql: the path of a search that a pair comes from. In: $tree_id, $node_id VARCHAR.
-- Out: one row per node from the root to the accepted one: depth, node_id, value, state, response_id, call_id.
WITH RECURSIVE up AS (
  SELECT node_id, parent_node_id, depth, value, state, response_id, call_id
  FROM nodes
  WHERE tree_id = $tree_id AND node_id = $node_id
  UNION ALL
  SELECT n.node_id, n.parent_node_id, n.depth, n.value, n.state, n.response_id, n.call_id
  FROM nodes AS n
  JOIN up ON n.node_id = up.parent_node_id AND n.tree_id = $tree_id
)
SELECT depth, node_id, value, state, response_id, call_id FROM up ORDER BY depth;
