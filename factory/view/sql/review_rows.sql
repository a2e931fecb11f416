-- review_rows.sql: all reviews, newest first. Out: one row per review; `counts`: whether it is its reviewer's newest.
SELECT reviewed_at, reviewer, pair_id, verdict, preferred, blind, reason, edited_pair_id, seconds, c.review_id IS NOT NULL AS counts,
  run_id, prompt_id
FROM reviews
LEFT JOIN (SELECT review_id FROM current_reviews) AS c USING (review_id)
ORDER BY reviewed_at DESC, review_id;
