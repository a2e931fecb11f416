-- tree.sql: a search tree's nodes with their texts. critique: the judge's, from which its children were refined.
-- In: $tree_id. Out: one row per node in order of visit, so a parent comes before its children.
SELECT n.node_id, n.parent_node_id, n.depth, n.visit, n.state, n.value, r.text, n.output, n.reflection, asked.critique,
  first.visit AS judged_at, t.outcome, t.strategy, t.nodes_expanded, t.run_id, t.error, conversation(q.messages) AS prompt
FROM nodes AS n
JOIN trees AS t USING (tree_id)
JOIN prompts AS q ON q.prompt_id = n.prompt_id
LEFT JOIN responses AS r ON r.response_id = n.response_id
LEFT JOIN nodes AS first ON first.tree_id = n.tree_id AND first.response_id = n.judged_response_id
LEFT JOIN (
  SELECT parent_node_id, any_value(critique) AS critique
  FROM nodes
  JOIN judgements ON judgement_id = critique_judgement_id
  WHERE tree_id = $tree_id
  GROUP BY parent_node_id
) AS asked ON asked.parent_node_id = n.node_id
WHERE n.tree_id = $tree_id
ORDER BY n.visit;
