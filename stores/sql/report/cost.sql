-- cost.sql: what a run asked of which model, in the order of its stages.
-- In: $run_id. Out: one row per stage, template and model; latency_s: of answered calls not read from the journal.
SELECT stage, coalesce(template, 'prompt') AS template, m.name AS model, count(*) AS calls,
  sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
  avg(latency_s) FILTER (NOT from_journal) AS mean_latency_s
FROM calls
JOIN models AS m USING (model_id)
WHERE run_id = $run_id
GROUP BY ALL
ORDER BY min(started_at), stage, template, model;
