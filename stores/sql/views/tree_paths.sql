-- tree_paths.sql: the path from each tree's root to each of its nodes. One row per node.
CREATE TEMP VIEW tree_paths AS
WITH RECURSIVE path AS (
  SELECT run_id, tree_id, node_id, depth, [node_id] AS node_ids, [value] AS node_values, state
  FROM nodes
  WHERE parent_node_id IS NULL
  UNION ALL
  SELECT n.run_id, n.tree_id, n.node_id, n.depth, list_append(path.node_ids, n.node_id),
    list_append(path.node_values, n.value), n.state
  FROM nodes AS n
  JOIN path ON n.parent_node_id = path.node_id
)
SELECT * FROM path;
