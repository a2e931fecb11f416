-- by_prompt.sql: what each prompt of a run cost, by the role of the model asked; what it was evolved to counts as its own.
-- In: $run_id. Out: one row per prompt taken and role (NULL if no model was asked); pairs: the prompt's, from all
-- pairings; untold: answered calls whose endpoint did not tell their tokens.
WITH taken AS (
  SELECT t.prompt_id, CASE WHEN t.evolved THEN coalesce(p.evolved_from, t.prompt_id) ELSE t.prompt_id END AS origin_id
  FROM run_prompts AS t
  JOIN prompts AS p USING (prompt_id)
  WHERE t.run_id = $run_id
), made AS (
  SELECT origin_id, count(*) AS pairs
  FROM pairs
  JOIN taken USING (prompt_id)
  WHERE run_id = $run_id
  GROUP BY origin_id
)
SELECT origin_id AS prompt_id, c.role, count(c.call_id) AS calls,
  coalesce(sum(c.prompt_tokens), 0)::BIGINT AS prompt_tokens, coalesce(sum(c.completion_tokens), 0)::BIGINT AS completion_tokens,
  count(*) FILTER (c.call_id IS NOT NULL AND c.error IS NULL AND (c.prompt_tokens IS NULL OR c.completion_tokens IS NULL)) AS untold,
  coalesce(sum(c.latency_s), 0) AS latency_s, any_value(coalesce(made.pairs, 0)) AS pairs
FROM taken
LEFT JOIN (FROM calls WHERE run_id = $run_id) AS c USING (prompt_id)
LEFT JOIN made USING (origin_id)
GROUP BY origin_id, c.role
ORDER BY origin_id, c.role;
