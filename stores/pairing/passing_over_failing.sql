-- passing_over_failing.sql: a passing over a failing sampled answer: the control that a search is compared with.
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: whose verdict ranks; NULL: the judge that decides.
-- Out: one row a prompt that has both. Chosen by hash, not by chance: of each kind the answer of the least response_id.
SELECT prompt_id, min(response_id) FILTER (passed) AS chosen_response_id,
  min(response_id) FILTER (NOT passed) AS rejected_response_id,
  arg_min(value, response_id) FILTER (passed) AS chosen_value,
  arg_min(value, response_id) FILTER (NOT passed) AS rejected_value
FROM answers($run_id, $prompt_ids, $judge)
GROUP BY prompt_id
HAVING chosen_response_id IS NOT NULL AND rejected_response_id IS NOT NULL
ORDER BY prompt_id;
