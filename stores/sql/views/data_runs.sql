-- data_runs.sql: the state of each run that was made for data: of every run but evaluations, whose answers train no model.
-- Out: rows of `current_runs`.
CREATE TEMP VIEW data_runs AS
SELECT *
FROM current_runs
WHERE purpose <> 'evaluation'
ORDER BY run_id;
