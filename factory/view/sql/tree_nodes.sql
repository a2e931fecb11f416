-- tree_nodes.sql: a tree's nodes without their texts. In: $tree_id. Out: one row per node, in order of expansion.
SELECT node_id, parent_node_id AS parent_id, depth, visit, state, value, flaw, response_id, judged_response_id AS judged_id,
  critique_judgement_id AS critique_id, call_id
FROM nodes
WHERE tree_id = $tree_id
ORDER BY visit, node_id;
