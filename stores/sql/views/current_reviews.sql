-- current_reviews.sql: each reviewer's newest review of each pair.
-- Out: the rows of `reviews`, one per pair and reviewer.
CREATE TEMP VIEW current_reviews AS
SELECT DISTINCT ON (pair_id, reviewer) *
FROM reviews
ORDER BY pair_id, reviewer, reviewed_at DESC, review_id;
