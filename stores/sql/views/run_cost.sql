-- run_cost.sql: what each run asked of which model, by stage. Answers read from the journal cost nothing again.
-- Out: one row a run, stage, template and model. cost: by the prices of the run's recipe as it was last started, in
-- their currency; NULL where the model has none.
CREATE VIEW run_cost AS
SELECT asked.* EXCLUDE (asker, paid_prompt_tokens, paid_completion_tokens),
  (coalesce(paid_prompt_tokens, 0) * (recipe->'models'->role->>'prompt_price')::DOUBLE
    + coalesce(paid_completion_tokens, 0) * (recipe->'models'->role->>'completion_price')::DOUBLE) / 1e6 AS cost
FROM (
  SELECT run_id, stage, coalesce(template, 'prompt') AS template, m.name AS model,
    -- A refinement's votes belong to stage search, and are asked of the judge's model.
    CASE WHEN template = 'judge' THEN 'judge' ELSE stage END AS asker,
    count(*) AS calls, count(*) FILTER (from_journal) AS from_journal, count(*) FILTER (error IS NOT NULL) AS errors,
    sum(choices) AS choices, sum(retries) AS retries,
    sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
    sum(latency_s) AS latency_s,
    sum(prompt_tokens) FILTER (NOT from_journal) AS paid_prompt_tokens,
    sum(completion_tokens) FILTER (NOT from_journal) AS paid_completion_tokens
  FROM calls
  JOIN models AS m USING (model_id)
  GROUP BY ALL
) AS asked
LEFT JOIN (
  SELECT run_id, recipe, asker, recipe->'stages'->asker->>'model' AS role
  FROM current_runs, (VALUES ('evolve'), ('sample'), ('judge'), ('search')) AS stages(asker)
) AS priced USING (run_id, asker)
ORDER BY run_id, stage, template, model;
