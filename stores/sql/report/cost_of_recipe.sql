-- cost_of_recipe.sql: what a prompt has cost in earlier runs of a recipe.
-- In: $recipe_hash VARCHAR. Out: one row: prompts, tokens a prompt (prompts' and answers'), seconds a prompt.
WITH mine AS (
  SELECT run_id, date_diff('millisecond', started_at, ended_at) / 1000 AS seconds
  FROM data_runs
  WHERE recipe_hash = $recipe_hash AND status = 'finished' AND attempt = 0
)
SELECT p.prompts::BIGINT AS prompts, t.tokens / p.prompts AS tokens, s.seconds / p.prompts AS seconds
FROM (SELECT count(*) AS prompts FROM run_prompts WHERE run_id IN (SELECT run_id FROM mine)) AS p,
  (SELECT sum(prompt_tokens + completion_tokens) AS tokens FROM calls WHERE run_id IN (SELECT run_id FROM mine)) AS t,
  (SELECT sum(seconds) AS seconds FROM mine) AS s
WHERE p.prompts > 0
ORDER BY prompts;
