-- tree_outputs.sql: what the refiner wrote for some nodes of a tree. In: $tree_id, $node_ids. Out: one row per node.
SELECT node_id, output, reflection
FROM nodes
WHERE tree_id = $tree_id AND list_contains($node_ids, node_id);
