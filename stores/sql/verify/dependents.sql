-- dependents.sql: what was made of the named sets.
-- In:  $sets VARCHAR[], ids.  Out: set_name, training_run_id, model_name; NULL where nothing was; ordered.
SELECT s.name || '@' || s.version AS set_name, t.training_run_id, m.name AS model_name
FROM training_sets AS s
LEFT JOIN training_runs AS t USING (training_set_id)
LEFT JOIN models AS m USING (training_run_id)
WHERE list_contains($sets, training_set_id)
ORDER BY ALL;
