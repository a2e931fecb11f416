-- round_evaluations.sql: what each round of a loop measured. In: $loop_id VARCHAR. Out: one row per round, role, benchmark
-- and metric, in order.
SELECT s.round, s.role, substr(s.step, length('evaluate ') + 1) AS benchmark, e.metric, e.value, e.low, e.high, e.examples
FROM loop_steps AS s
JOIN evaluations AS e ON e.run_id = s.run_id AND e.model_id = s.model_id AND e.other_model_id IS NULL
WHERE s.loop_id = $loop_id AND starts_with(s.step, 'evaluate ')
ORDER BY s.round, s.role, benchmark, e.metric;
