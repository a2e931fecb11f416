-- pairs.sql: pairs whose path is broken: from the prompt to both answers and, of a search, from the root to the node.
-- In:  nothing.  Out: table_name, id, run_id, fault.
SELECT 'pairs' AS table_name, p.pair_id AS id, p.run_id, fault
FROM pairs AS p
LEFT JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
LEFT JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
LEFT JOIN trees AS t USING (tree_id)
LEFT JOIN nodes AS n ON n.node_id = p.node_id AND n.tree_id = p.tree_id,
  unnest([
    CASE WHEN chosen.response_id IS NULL THEN 'has a chosen response that is not there' END,
    CASE WHEN rejected.response_id IS NULL THEN 'has a rejected response that is not there' END,
    CASE WHEN chosen.prompt_id <> p.prompt_id OR rejected.prompt_id <> p.prompt_id
      THEN 'has a response to another prompt' END,
    CASE WHEN p.tree_id IS NOT NULL AND t.tree_id IS NULL THEN 'names a tree that is not there' END,
    CASE WHEN p.node_id IS NOT NULL AND n.node_id IS NULL THEN 'names a node that its tree does not have' END,
    -- A reviewer's edit keeps the path of the pair whose place it takes.
    CASE WHEN n.response_id <> p.chosen_response_id AND chosen.kind <> 'edited'
      THEN 'has a chosen response that is not its node''s' END,
    CASE WHEN t.root_response_id <> p.rejected_response_id AND p.source = 'refined_over_failed'
      THEN 'has a rejected response that is not its tree''s root' END
  ]) AS faults(fault)
WHERE fault IS NOT NULL
ORDER BY table_name, id;
