-- scores.sql: what each judge said of the responses behind a training set's rows.
-- In: rows of sides.sql as `audited_sides`. Out: one row per row, side and judge of any run, ordered.
WITH shown AS MATERIALIZED (
  SELECT id, 'chosen' AS side, chosen_response_id AS response_id FROM audited_sides WHERE chosen_response_id IS NOT NULL
  UNION ALL
  SELECT id, 'rejected', rejected_response_id FROM audited_sides WHERE rejected_response_id IS NOT NULL
), said AS (
  SELECT * FROM verdicts WHERE response_id IN (SELECT response_id FROM shown)
)
SELECT id, side, response_id, judge, kind, decides, points, value, passed, yes_votes, no_votes, unparsed_votes
FROM shown
JOIN said USING (response_id)
ORDER BY id, side, judge, run_id;
