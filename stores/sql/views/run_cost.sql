-- run_cost.sql: what each run asked of which model, by stage. Answers read from the journal cost nothing again.
CREATE VIEW run_cost AS
SELECT run_id, stage, coalesce(template, 'prompt') AS template, m.name AS model,
  count(*) AS calls, count(*) FILTER (from_journal) AS from_journal, count(*) FILTER (error IS NOT NULL) AS errors,
  sum(choices) AS choices, sum(retries) AS retries,
  sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
  sum(latency_s) AS latency_s
FROM calls
JOIN models AS m USING (model_id)
GROUP BY ALL
ORDER BY run_id, stage, template, model;
