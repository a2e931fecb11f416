-- pair_reviews.sql: what people said of a pair. In: $pair_id. Out: one row per reviewer: verdict, reviewer, reason.
SELECT verdict, reviewer, reason
FROM current_reviews
WHERE pair_id = $pair_id
ORDER BY reviewer;
