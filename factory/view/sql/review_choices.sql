-- review_choices.sql: what can be reviewed: training sets of pairs, newest first, and runs with pairs. Out: kind, name.
SELECT kind, name
FROM (
  SELECT 'set' AS kind, name || '@' || version AS name, created_at AS made FROM training_sets WHERE format = 'preference'
  UNION ALL
  SELECT 'run', run_id, max(started_at) FROM current_runs WHERE run_id IN (SELECT run_id FROM pairs) GROUP BY run_id
)
WHERE len(name) <= 200  -- longer ones could not be chosen from a list
ORDER BY kind, made DESC, name
LIMIT 500;
