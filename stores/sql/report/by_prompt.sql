-- by_prompt.sql: what each prompt of a run cost, by the role of the model asked.
-- In: $run_id. Out: one row per prompt and role (NULL if no model was asked); pairs: the prompt's, from all pairings.
SELECT t.prompt_id, c.role, count(c.call_id) AS calls,
  coalesce(sum(c.prompt_tokens), 0)::BIGINT AS prompt_tokens, coalesce(sum(c.completion_tokens), 0)::BIGINT AS completion_tokens,
  coalesce(sum(c.latency_s), 0) AS latency_s, any_value(coalesce(p.pairs, 0)) AS pairs
FROM run_prompts AS t
LEFT JOIN calls AS c ON c.run_id = t.run_id AND c.prompt_id = t.prompt_id
LEFT JOIN (
  SELECT prompt_id, count(*) AS pairs FROM pairs WHERE run_id = $run_id GROUP BY prompt_id
) AS p ON p.prompt_id = t.prompt_id
WHERE t.run_id = $run_id
GROUP BY t.prompt_id, c.role
ORDER BY t.prompt_id, c.role;
