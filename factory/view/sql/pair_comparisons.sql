-- pair_comparisons.sql: comparisons of the two sides of a pair. In: $chosen, $rejected VARCHAR (responses).
-- Out: one row per comparison: probability that the chosen side is better, whether it was shown first, its call.
SELECT run_id, stage, name AS model,
  if(first_response_id = $chosen, probability, 1 - probability) AS probability, first_response_id = $chosen AS chosen_first, call_id
FROM comparisons
LEFT JOIN models USING (model_id)
WHERE first_response_id IN ($chosen, $rejected) AND second_response_id IN ($chosen, $rejected)
ORDER BY run_id, stage, chosen_first DESC;
