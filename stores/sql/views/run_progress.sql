-- run_progress.sql: how far each run is. One row per run. Counts are 0 where there is none; `failing` is NULL until
-- something is judged.
CREATE TEMP VIEW run_progress AS
SELECT run_id, status, coalesce(prompts, 0) AS prompts, coalesce(answered, 0) AS answered,
  coalesce(judged, 0) AS judged, CASE WHEN judged > 0 THEN coalesce(failing, 0) END AS failing,
  coalesce(trees, 0) AS trees, coalesce(accepted, 0) AS accepted, coalesce(set_aside, 0) AS set_aside
FROM current_runs
LEFT JOIN (SELECT run_id, count(*) AS prompts FROM run_prompts GROUP BY run_id) USING (run_id)
LEFT JOIN (
  SELECT run_id, count(DISTINCT prompt_id) AS answered FROM responses WHERE kind = 'sampled' AND flaw IS DISTINCT FROM 'empty' GROUP BY run_id
) USING (run_id)
LEFT JOIN (SELECT run_id, count(DISTINCT prompt_id) AS judged FROM judgements GROUP BY run_id) USING (run_id)
LEFT JOIN (SELECT run_id, count(DISTINCT prompt_id) AS failing FROM failed_responses GROUP BY run_id) USING (run_id)
LEFT JOIN (
  SELECT run_id, count(*) AS trees, count(*) FILTER (outcome = 'accepted') AS accepted FROM trees GROUP BY run_id
) USING (run_id)
LEFT JOIN (SELECT run_id, count(*) AS set_aside FROM failed_prompts GROUP BY run_id) USING (run_id)
ORDER BY run_id;
