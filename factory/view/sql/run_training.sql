-- run_training.sql: the training that an online training's run belongs to. In: $training VARCHAR, the beginning of its id.
-- Out: at most one row, once it has ended: objective, status, reason, base_model, training_set, output.
SELECT objective, t.status, t.reason, base_model, concat(s.name, '@', s.version) AS training_set, output
FROM training_runs AS t
LEFT JOIN training_sets AS s USING (training_set_id)
WHERE starts_with(training_run_id, $training)
ORDER BY training_run_id
LIMIT 1;
