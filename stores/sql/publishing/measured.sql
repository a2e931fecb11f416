-- measured.sql: what has been measured of models. In: $models VARCHAR[], $role VARCHAR (NULL: every role).
-- Out: the figures of one model each, newest first where one was measured again.
SELECT DISTINCT ON (m.name, benchmark, metric, prompts_hash) m.name AS model, e.role, benchmark, metric, value, low, high,
  examples, prompts_hash, recorded_at
FROM evaluations AS e
JOIN models AS m USING (model_id)
WHERE list_contains($models, e.model_id) AND other_model_id IS NULL AND value IS NOT NULL
  AND ($role IS NULL OR e.role = $role)
ORDER BY m.name, benchmark, metric, prompts_hash, recorded_at DESC;
