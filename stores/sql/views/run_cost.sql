-- run_cost.sql: what each run asked of which model, by stage. Answers that another run paid for, read from the
-- journal, cost nothing.
-- Out: one row per run, stage, role, template and model. cost: at the role's prices in the recipe of the run's last start,
-- in their currency; NULL without prices, if the role is unknown, or if the endpoint did not tell the tokens (`untold`
-- calls) of a model that is not free.
CREATE TEMP VIEW run_cost AS
SELECT asked.* EXCLUDE (paid_prompt_tokens, paid_completion_tokens),
  (coalesce(paid_prompt_tokens, 0) * (recipe->'models'->role->>'prompt_price')::DOUBLE
    + coalesce(paid_completion_tokens, 0) * (recipe->'models'->role->>'completion_price')::DOUBLE
    + CASE WHEN untold > 0 AND ((recipe->'models'->role->>'prompt_price')::DOUBLE > 0
        OR (recipe->'models'->role->>'completion_price')::DOUBLE > 0) THEN NULL ELSE 0 END) / 1e6 AS cost
FROM (
  SELECT run_id, stage, role, coalesce(template, 'prompt') AS template, m.name AS model,
    count(*) AS calls, count(*) FILTER (from_journal) AS from_journal, count(*) FILTER (error IS NOT NULL) AS errors,
    sum(choices) AS choices, sum(retries) AS retries,
    sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
    sum(latency_s) AS latency_s,
    count(*) FILTER (NOT from_journal AND error IS NULL AND (prompt_tokens IS NULL OR completion_tokens IS NULL)) AS untold,
    sum(prompt_tokens) FILTER (NOT from_journal) AS paid_prompt_tokens,
    sum(completion_tokens) FILTER (NOT from_journal) AS paid_completion_tokens
  FROM calls
  JOIN models AS m USING (model_id)
  GROUP BY ALL
) AS asked
LEFT JOIN (SELECT run_id, recipe FROM current_runs) AS started USING (run_id)
ORDER BY run_id, stage, role, template, model;
