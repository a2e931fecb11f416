-- Answers on which two judges of a run disagree. In: $rows BIGINT = 100.
SELECT one.run_id, one.response_id, one.judge, one.passed, other.judge AS other_judge, other.passed AS other_passed, r.text
FROM verdicts AS one
JOIN verdicts AS other USING (run_id, response_id)
JOIN responses AS r USING (response_id)
WHERE one.judge < other.judge AND one.passed <> other.passed
ORDER BY one.run_id, one.response_id
LIMIT $rows;
