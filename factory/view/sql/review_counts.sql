-- review_counts.sql: each reviewer's current reviews. Out: one row per reviewer, ordered by name.
SELECT reviewer, count(*) AS pairs, count(*) FILTER (verdict = 'accept') AS accepted, count(*) FILTER (verdict = 'reject') AS rejected,
  count(*) FILTER (verdict = 'edit') AS edited, count(*) FILTER (blind) AS blind, median(seconds) AS median_seconds,
  max(reviewed_at) AS last_review
FROM current_reviews
GROUP BY reviewer
ORDER BY reviewer;
