-- pair_calls.sql: the calls behind a pair: those that wrote its sides and the steps between them, and those that judged
-- either side. In: $responses VARCHAR[] (both sides), $calls VARCHAR[] (of the sides and steps).
-- Out: one row per call, in order of time: what it did, stage, role, model, tokens, seconds.
WITH asked AS (
  SELECT unnest($calls) AS call_id, 'wrote' AS did
  UNION
  SELECT call_id, 'judged' FROM judgements WHERE response_id IN (SELECT unnest($responses)) AND call_id IS NOT NULL
)
SELECT call_id, did, c.stage, c.role, m.name AS model, c.template, c.prompt_tokens, c.completion_tokens, c.latency_s,
  c.from_journal, c.started_at
FROM asked
JOIN calls AS c USING (call_id)
LEFT JOIN models AS m USING (model_id)
ORDER BY started_at, call_id;
