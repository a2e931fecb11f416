-- current_runs.sql: each run's state: its newest event. One row per run.
CREATE TEMP VIEW current_runs AS
SELECT DISTINCT ON (run_id) *
FROM runs
ORDER BY run_id, attempt DESC, ended_at DESC NULLS LAST;
