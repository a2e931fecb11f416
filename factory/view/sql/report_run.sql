-- report_run.sql: how a run was made. In: $run_id. Out: one row.
SELECT run_id, status, reason, recipe_name, purpose, recipe, recipe_hash, templates, parameters, seed, iteration, parent_run_id,
  code_version, package_versions, started_at, ended_at
FROM current_runs AS r
WHERE r.run_id = $run_id;
