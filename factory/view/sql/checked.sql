-- checked.sql: recorded checks of constraints. In: $run_id, $response_ids. Out: one row per response and constraint.
SELECT response_id, position, constraint_id, followed
FROM checks
WHERE run_id = $run_id AND response_id IN (SELECT unnest($response_ids))
ORDER BY response_id, position;
