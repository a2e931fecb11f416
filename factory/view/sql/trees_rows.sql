-- trees_rows.sql: the rows of the tree table. In: $tree_ids. Out: one row per tree: the prompt's beginning, how the search
-- ended, value (the highest of its refinements), likeness (of its pair), flaws of its nodes.
WITH chosen AS (FROM trees WHERE tree_id IN (SELECT unnest($tree_ids))),
grown AS (
  SELECT tree_id, max(depth) AS depth, max(value) FILTER (depth > 0) AS value, max(value) FILTER (depth = 0) AS root_value,
    list(DISTINCT flaw ORDER BY flaw) FILTER (flaw IS NOT NULL AND depth > 0) AS flaws
  FROM nodes
  WHERE tree_id IN (SELECT unnest($tree_ids))
  GROUP BY tree_id
)
SELECT t.tree_id, left(regexp_replace(left(q.messages[-1].content, 400), '\s+', ' ', 'g'), 160) AS prompt, t.outcome, g.root_value, g.value,
  p.similarity AS likeness, g.depth, t.nodes_expanded AS refinements, coalesce(g.flaws, []) AS flaws,
  r.recipe_name AS recipe, r.iteration AS round, t.strategy, t.run_id, t.prompt_id
FROM chosen AS t
LEFT JOIN grown AS g USING (tree_id)
LEFT JOIN (SELECT run_id, recipe_name, iteration FROM current_runs) AS r ON r.run_id = t.run_id
LEFT JOIN (SELECT prompt_id, messages FROM prompts WHERE prompt_id IN (SELECT prompt_id FROM chosen)) AS q
  ON q.prompt_id = t.prompt_id
LEFT JOIN (SELECT tree_id, max(similarity) AS similarity FROM pairs WHERE tree_id IN (SELECT unnest($tree_ids)) GROUP BY tree_id) AS p
  ON p.tree_id = t.tree_id
ORDER BY list_position($tree_ids, t.tree_id);
