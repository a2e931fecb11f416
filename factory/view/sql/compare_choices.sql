-- compare_choices.sql: what can be compared, newest first. Out: name, as the page's fields take it; very long ones are left out.
SELECT name FROM (
  (SELECT 'set:' || name || '@' || version AS name FROM training_sets ORDER BY created_at DESC, name, version DESC LIMIT 100)
  UNION ALL
  (SELECT 'run:' || run_id FROM current_runs ORDER BY started_at DESC, run_id LIMIT 100)
  UNION ALL
  (SELECT 'model:' || name FROM models GROUP BY name ORDER BY name LIMIT 100)
  UNION ALL
  (SELECT 'snapshot:' || snapshot_id FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 20)
)
WHERE len(name) <= 200;
