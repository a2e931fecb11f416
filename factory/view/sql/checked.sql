-- checked.sql: recorded checks of constraints. In: $run_id, {ids}. Out: one row per response and constraint.
SELECT response_id, position, constraint_id, followed
FROM checks
WHERE run_id = $run_id AND response_id IN ({ids})
ORDER BY response_id, position;
