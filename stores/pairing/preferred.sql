-- preferred.sql: of every two compared answers, the one that is more probably better: soft labels (RLAIF, arXiv:2309.00267, 2.1).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: the comparing stage; NULL: the mean of all,
--      $min_probability DOUBLE = 0.5: that the chosen answer is better, the mean over both orders.
-- Out: one row per two answers whose texts differ, the chosen one without a flaw. chosen_value: the probability that it is
-- better; rejected_value: 1 - that. Of two equally good ones the smaller response_id is chosen.
WITH compared AS (
  SELECT prompt_id, response_id, other_response_id, avg(probability) AS probability
  FROM preferences
  WHERE run_id = $run_id AND coalesce(list_contains($prompt_ids, prompt_id), true) AND coalesce(stage = $judge, true)
  GROUP BY prompt_id, response_id, other_response_id
),
ordered AS (
  SELECT prompt_id, if(probability >= 0.5, response_id, other_response_id) AS chosen_response_id,
    if(probability >= 0.5, other_response_id, response_id) AS rejected_response_id,
    greatest(probability, 1 - probability) AS chosen_value
  FROM compared
)
SELECT ordered.prompt_id, chosen_response_id, rejected_response_id, chosen_value, 1 - chosen_value AS rejected_value
FROM ordered
JOIN responses AS chosen ON chosen.response_id = chosen_response_id
JOIN responses AS rejected ON rejected.response_id = rejected_response_id
WHERE chosen_value >= $min_probability AND chosen.flaw IS NULL AND chosen.text <> rejected.text
ORDER BY ordered.prompt_id, chosen_response_id, rejected_response_id;
