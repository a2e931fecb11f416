-- trees.sql: trees that are none. A node's parent is in its tree, one level above it and visited before it: then there is no
-- cycle, and every node is reached from the one root.
-- In:  nothing.  Out: table_name, id, run_id, fault.
WITH of_tree AS (
  SELECT
    tree_id,
    count(*) AS nodes,
    count(*) FILTER (parent_node_id IS NULL) AS roots,
    any_value(response_id) FILTER (parent_node_id IS NULL) AS root_response_id,
    any_value(depth) FILTER (parent_node_id IS NULL) AS root_depth,
    count(DISTINCT visit) AS visits
  FROM nodes
  GROUP BY tree_id
)
SELECT 'trees' AS table_name, t.tree_id AS id, t.run_id, fault
FROM trees AS t
LEFT JOIN of_tree AS o USING (tree_id)
LEFT JOIN nodes AS a ON a.node_id = t.accepted_node_id AND a.tree_id = t.tree_id,
  unnest([
    CASE WHEN o.tree_id IS NULL THEN 'has no nodes' END,
    CASE WHEN o.roots <> 1 THEN 'has ' || o.roots || ' roots' END,
    CASE WHEN o.roots = 1 AND (o.root_depth <> 0 OR o.root_response_id IS DISTINCT FROM t.root_response_id)
      THEN 'has a root that is not its root response' END,
    CASE WHEN o.nodes - 1 <> t.nodes_expanded THEN 'counts other nodes than it has' END,
    CASE WHEN o.visits <> o.nodes THEN 'has nodes with the same place in the order of visits' END,
    CASE WHEN t.accepted_node_id IS NOT NULL AND (a.node_id IS NULL OR a.state <> 'accepted')
      THEN 'names an accepted node that it does not have' END,
    CASE WHEN (t.outcome = 'accepted') <> (t.accepted_node_id IS NOT NULL) THEN 'has another outcome than its nodes' END
  ]) AS faults(fault)
WHERE fault IS NOT NULL
UNION ALL
SELECT 'nodes', n.node_id, n.run_id, 'has a parent that is not in its tree, one level above it and visited before it'
FROM nodes AS n
LEFT JOIN nodes AS p ON p.node_id = n.parent_node_id AND p.tree_id = n.tree_id
WHERE n.parent_node_id IS NOT NULL AND (p.node_id IS NULL OR p.depth <> n.depth - 1 OR p.visit >= n.visit)
UNION ALL
SELECT 'nodes', node_id, run_id, 'names a tree that is not there' FROM nodes ANTI JOIN trees USING (tree_id)
ORDER BY table_name, id;
