-- contrast.sql: constraints followed by chosen minus rejected, and points of the deciding judge, of each row's sides.
-- In: rows of sides.sql as `audited_sides`. Out: one row per row, in order; NULL: unknown.
WITH followed AS MATERIALIZED (
  FROM constraints_followed
  WHERE response_id IN (SELECT chosen_response_id FROM audited_sides UNION SELECT rejected_response_id FROM audited_sides)
), deciding AS MATERIALIZED (
  SELECT response_id, arg_min(points, (run_id, judge)) AS points, arg_min(judge, (run_id, judge)) AS judge
  FROM verdicts
  WHERE decides AND points IS NOT NULL
    AND response_id IN (SELECT chosen_response_id FROM audited_sides UNION SELECT rejected_response_id FROM audited_sides)
  GROUP BY response_id
)
SELECT s.row, chosen.followed - rejected.followed AS constraint_gap,
  CASE WHEN better.judge = worse.judge THEN better.points END AS chosen_points,
  CASE WHEN better.judge = worse.judge THEN worse.points END AS rejected_points
FROM audited_sides AS s
LEFT JOIN followed AS chosen ON chosen.response_id = chosen_response_id
LEFT JOIN followed AS rejected ON rejected.response_id = rejected_response_id
LEFT JOIN deciding AS better ON better.response_id = chosen_response_id
LEFT JOIN deciding AS worse ON worse.response_id = rejected_response_id
ORDER BY s.row;
