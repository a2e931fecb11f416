-- data_runs.sql: the state of each run that was made for data: not of evaluations, whose answers train no model, and not of
-- online trainings, whose answers did.
-- Out: rows of `current_runs`.
CREATE TEMP VIEW data_runs AS
SELECT *
FROM current_runs
WHERE purpose NOT IN ('evaluation', 'training')
ORDER BY run_id;
