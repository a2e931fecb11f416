-- models.sql: the models behind a training set's rows. In: its rows as `published`, $runs VARCHAR[].
-- Out: one row per model: its roles and sampling temperatures in the runs' calls for these prompts, and how many chosen
-- answers (or completions) and rejected ones it wrote.
WITH sides AS MATERIALIZED (
  SELECT coalesce(p.chosen_response_id, a.response_id) AS chosen, p.rejected_response_id AS rejected
  FROM published AS a
  LEFT JOIN pairs AS p USING (pair_id)
), written AS (
  SELECT model_id, count(*) FILTER (side = 'chosen') AS chosen, count(*) FILTER (side = 'rejected') AS rejected
  FROM (SELECT chosen AS response_id, 'chosen' AS side FROM sides UNION ALL SELECT rejected, 'rejected' FROM sides)
  JOIN responses USING (response_id)
  WHERE model_id IS NOT NULL
  GROUP BY model_id
), asked AS (
  SELECT model_id, list_sort(list_distinct(list(role))) AS roles,
    list_sort(list_distinct(list((parameters->>'temperature')::DOUBLE))) AS temperatures, count(*) AS calls
  FROM calls
  WHERE list_contains($runs, run_id) AND prompt_id IN (SELECT prompt_id FROM published)
  GROUP BY model_id
)
SELECT model_id, m.name, m.revision, m.origin, m.training_run_id, coalesce(roles, []) AS roles,
  coalesce(temperatures, []) AS temperatures, coalesce(calls, 0) AS calls, coalesce(chosen, 0) AS chosen,
  coalesce(rejected, 0) AS rejected
FROM models AS m
LEFT JOIN written USING (model_id)
LEFT JOIN asked USING (model_id)
WHERE written.model_id IS NOT NULL OR asked.model_id IS NOT NULL
ORDER BY m.name, m.revision;
