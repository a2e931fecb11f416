-- two_answers.sql: every two sampled answers of a prompt, in an order by hash, for people to judge (`factory view`, Review).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run).
-- Out: one row per two answers without a flaw. 'Chosen' means nothing until a review says which one is better; values: NULL.
SELECT prompt_id, chosen.response_id AS chosen_response_id, rejected.response_id AS rejected_response_id,
  NULL::DOUBLE AS chosen_value, NULL::DOUBLE AS rejected_value
FROM answers($run_id, $prompt_ids, NULL) AS chosen
JOIN answers($run_id, $prompt_ids, NULL) AS rejected USING (prompt_id)
WHERE chosen.response_id < rejected.response_id AND chosen.flaw IS NULL AND rejected.flaw IS NULL
ORDER BY prompt_id, chosen_response_id, rejected_response_id;
