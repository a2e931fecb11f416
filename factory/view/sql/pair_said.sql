-- pair_said.sql: what people said of a pair, newest first. In: $pair_id VARCHAR. Out: one row per review; `counts`:
-- whether it is its reviewer's newest.
SELECT reviewed_at, reviewer, verdict, preferred, blind, reason, edited_pair_id, seconds, c.review_id IS NOT NULL AS counts
FROM reviews
LEFT JOIN (SELECT review_id FROM current_reviews) AS c USING (review_id)
WHERE pair_id = $pair_id
ORDER BY reviewed_at DESC, review_id;
