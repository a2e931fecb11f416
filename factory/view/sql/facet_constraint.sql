-- facet_constraint.sql: filtered trees by kind of constraint; a prompt may have several. {trees}: the filtered trees.
-- Out: value, trees.
SELECT constraint_id AS value, count(*) AS trees
FROM ({trees})
JOIN (
  SELECT prompt_id, unnest(list_distinct(list_transform(constraints, lambda c: c.id))) AS constraint_id FROM prompts
) USING (prompt_id)
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 40;
