-- passing_over_failing.sql: a passing sampled answer without a flaw over a failing one: the control for a search.
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: the judge whose verdict ranks; NULL: the deciding judge.
-- Out: one row per prompt that has both, with the smallest response_id of each: by hash, not by chance.
SELECT prompt_id, min(response_id) FILTER (passed AND flaw IS NULL) AS chosen_response_id,
  min(response_id) FILTER (NOT passed) AS rejected_response_id,
  arg_min(value, response_id) FILTER (passed AND flaw IS NULL) AS chosen_value,
  arg_min(value, response_id) FILTER (NOT passed) AS rejected_value
FROM answers($run_id, $prompt_ids, $judge)
GROUP BY prompt_id
HAVING chosen_response_id IS NOT NULL AND rejected_response_id IS NOT NULL
ORDER BY prompt_id;
