-- stronger_over_weaker.sql: a stronger model's answer over a weaker one's, unjudged (Delta Learning, arXiv:2507.06187).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $stronger VARCHAR = 'stronger', $weaker VARCHAR = 'weaker': the names of their sampling stages.
-- Out: one row per prompt that both have answered in different words, the stronger one without a flaw: the smallest
-- response_id of each.
WITH both_sides AS (
  SELECT prompt_id,
    min(response_id) FILTER (stage = $stronger AND flaw IS NULL) AS chosen_response_id,
    min(response_id) FILTER (stage = $weaker) AS rejected_response_id,
    arg_min(value, response_id) FILTER (stage = $stronger AND flaw IS NULL) AS chosen_value,
    arg_min(value, response_id) FILTER (stage = $weaker) AS rejected_value
  FROM answers($run_id, $prompt_ids, NULL)
  GROUP BY prompt_id
)
SELECT both_sides.*
FROM both_sides
JOIN responses AS chosen ON chosen.response_id = chosen_response_id
JOIN responses AS rejected ON rejected.response_id = rejected_response_id
WHERE chosen.text <> rejected.text
ORDER BY both_sides.prompt_id;
