-- orders.sql: how often comparisons of a run contradict each other when two answers change places.
-- In: $run_id. Out: one row per comparing stage: stage; pairs (two answers compared); both (of them, readable in both
-- orders); contradicting (of these, the same position won in both), in order of stage.
SELECT stage, count(*) AS pairs, count(*) FILTER (orders = 2) AS "both",
  count(*) FILTER (orders = 2 AND (least_first > 0.5 OR most_first < 0.5)) AS contradicting
FROM (
  SELECT stage, count(probability) AS orders, min(probability) AS least_first, max(probability) AS most_first
  FROM comparisons
  WHERE run_id = $run_id
  GROUP BY stage, least(first_response_id, second_response_id), greatest(first_response_id, second_response_id)
)
GROUP BY stage
ORDER BY stage;
