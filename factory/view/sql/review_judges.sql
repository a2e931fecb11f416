-- review_judges.sql: the better side of reviewed pairs by each reviewer and by each judge or comparing stage.
-- Out: one row per review and judge that both name a better side: whether that is the side shown first in a fixed order
-- (the smaller response id), as chance then has the same odds for both. Left out: reviews that only edit or find neither
-- better, and judges to whom both are equal.
WITH reviewed AS (
  SELECT reviewer, pair_id, chosen_response_id AS chosen, rejected_response_id AS rejected,
    CASE coalesce(preferred, if(verdict = 'accept', 'chosen', NULL)) WHEN 'chosen' THEN true WHEN 'rejected' THEN false END AS chosen_is_better
  FROM current_reviews
  JOIN pairs USING (pair_id)
), sides AS (
  SELECT chosen AS response_id FROM reviewed UNION SELECT rejected FROM reviewed
), said AS (
  SELECT response_id, judge, kind, avg(value) AS value
  FROM judgements
  WHERE response_id IN (FROM sides)
  GROUP BY ALL
), judged AS (
  SELECT pair_id, reviewer, chosen_is_better, chosen < rejected AS chosen_first, better.judge, better.kind, better.value > worse.value AS judge_agrees_with_pair
  FROM reviewed
  JOIN said AS better ON better.response_id = chosen
  JOIN said AS worse ON worse.response_id = rejected AND worse.judge = better.judge AND worse.kind = better.kind
  WHERE better.value <> worse.value
  UNION ALL
  SELECT pair_id, reviewer, chosen_is_better, chosen < rejected, stage, 'comparison',
    if(response_id = chosen, probability, 1 - probability) > 0.5
  FROM reviewed
  JOIN preferences ON response_id = least(chosen, rejected) AND other_response_id = greatest(chosen, rejected)
  WHERE probability <> 0.5
)
SELECT reviewer, judge, kind, chosen_is_better = chosen_first AS reviewer_first, judge_agrees_with_pair = chosen_first AS judge_first
FROM judged
WHERE chosen_is_better IS NOT NULL
ORDER BY reviewer, judge, kind, pair_id;
