-- run_progress.sql: how far each run is. One row a run.
CREATE VIEW run_progress AS
SELECT run_id, status, prompts, answered, judged, failing, trees, accepted, set_aside
FROM current_runs
LEFT JOIN (SELECT run_id, count(*) AS prompts FROM run_prompts GROUP BY run_id) USING (run_id)
LEFT JOIN (
  SELECT run_id, count(DISTINCT prompt_id) AS answered FROM responses WHERE kind = 'sampled' GROUP BY run_id
) USING (run_id)
LEFT JOIN (SELECT run_id, count(DISTINCT prompt_id) AS judged FROM judgements GROUP BY run_id) USING (run_id)
LEFT JOIN (SELECT run_id, count(DISTINCT prompt_id) AS failing FROM failed_responses GROUP BY run_id) USING (run_id)
LEFT JOIN (
  SELECT run_id, count(*) AS trees, count(*) FILTER (outcome = 'accepted') AS accepted FROM trees GROUP BY run_id
) USING (run_id)
LEFT JOIN (SELECT run_id, count(*) AS set_aside FROM failed_prompts GROUP BY run_id) USING (run_id)
ORDER BY run_id;
