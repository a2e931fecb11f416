-- reviews.sql: what people say of a training set's pairs. In: its rows as `published`.
-- Out: one row per verdict: pairs, and reviewers.
SELECT verdict, count(DISTINCT pair_id) AS pairs, count(DISTINCT reviewer) AS reviewers
FROM current_reviews
WHERE pair_id IN (SELECT pair_id FROM published)
GROUP BY verdict
ORDER BY verdict;
