-- pair_items.sql: how well the two sides of a pair meet each item of a checklist. In: $chosen, $rejected VARCHAR (responses).
-- Out: one row per item and judge, in the order of the checklist: its weight, and the mean value of each side.
SELECT run_id, judge, text AS item, weight, any_value(value) FILTER (response_id = $chosen) AS chosen,
  any_value(value) FILTER (response_id = $rejected) AS rejected
FROM item_scores
WHERE response_id IN ($chosen, $rejected)
GROUP BY run_id, judge, item_id, position, text, weight
ORDER BY run_id, judge, position, item;
