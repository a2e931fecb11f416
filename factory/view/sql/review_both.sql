-- review_both.sql: pairs that two people have reviewed. Out: one row per pair and two reviewers (by name): whether each
-- accepted it as it is.
SELECT one.reviewer, other.reviewer AS other_reviewer, one.verdict = 'accept' AS accepted, other.verdict = 'accept' AS other_accepted
FROM current_reviews AS one
JOIN current_reviews AS other USING (pair_id)
WHERE one.reviewer < other.reviewer
ORDER BY one.reviewer, other.reviewer, pair_id;
