-- compare_kinds.sql: of how many rows of each side the prompt has a constraint of a kind, or none. In: `compared_a`,
-- `compared_b`. Out: kind, a, b, ordered by how often.
WITH kinds AS (
  SELECT prompt_id, unnest(if(len(constraints) = 0, ['none'], list_distinct(list_transform(constraints, lambda one: one.id)))) AS kind
  FROM prompts
  WHERE prompt_id IN (SELECT prompt_id FROM compared_a UNION SELECT prompt_id FROM compared_b)
)
SELECT kind, count(*) FILTER (side = 'a') AS a, count(*) FILTER (side = 'b') AS b
FROM (SELECT 'a' AS side, prompt_id FROM compared_a UNION ALL SELECT 'b', prompt_id FROM compared_b)
JOIN kinds USING (prompt_id)
GROUP BY kind
ORDER BY a + b DESC, kind;
