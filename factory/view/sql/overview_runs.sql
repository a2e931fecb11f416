-- overview_runs.sql: all runs by start, from the small table of runs alone.
SELECT run_id, recipe_name AS recipe, purpose, iteration AS round, status, reason, started_at, ended_at
FROM current_runs
ORDER BY started_at DESC, run_id;
