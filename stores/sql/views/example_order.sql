-- example_order.sql: the order by hash in which a run's given prompts are examples for new ones (stage evolve, `how: new`).
-- Out: one row per run with such a stage and given prompt: place, from 0, and prompts, how many there are.
CREATE TEMP VIEW example_order AS
WITH showing AS (
  SELECT DISTINCT run_id, seed
  FROM (SELECT run_id, seed, unnest(from_json(if(json_valid(recipe), recipe->'stages', NULL), '["JSON"]')) AS stage FROM current_runs)
  WHERE (stage->>'stage') = 'evolve' AND (stage->>'how') = 'new'
)
SELECT run_id, prompt_id,
  row_number() OVER (PARTITION BY run_id ORDER BY sha256(concat(seed, ':', prompt_id)), prompt_id) - 1 AS place,
  count(*) OVER (PARTITION BY run_id) AS prompts
FROM run_prompts
JOIN showing USING (run_id)
WHERE NOT evolved;
