-- loops.sql: how far each loop is. In: $loop_id VARCHAR, a prefix of its id; $held BOOLEAN: whether a loop is active.
-- Out: one row per loop, by start: loop_id, status, reason, round and step that ended last, rounds asked for.
SELECT loop_id, CASE WHEN status = 'running' AND NOT $held THEN 'interrupted' ELSE status END AS status, reason,
  (settings->'loop'->>'rounds')::BIGINT AS rounds, last.round, last.step
FROM current_loops
LEFT JOIN (
  SELECT loop_id, arg_max(round, recorded_at) AS round,
    arg_max(concat_ws(' ', step, role), recorded_at) AS step
  FROM loop_steps GROUP BY loop_id
) AS last USING (loop_id)
WHERE starts_with(loop_id, $loop_id)
ORDER BY started_at, loop_id;
