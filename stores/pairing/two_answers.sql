-- two_answers.sql: every two sampled answers of a prompt, in an order by hash, for people to judge (`factory view`, Review).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run).
-- Out: one row per two answers without a flaw whose texts differ. 'Chosen' means nothing until a review says which one is
-- better; values: NULL.
WITH shown AS (
  SELECT a.prompt_id, a.response_id, text
  FROM answers($run_id, $prompt_ids, NULL) AS a
  JOIN responses USING (response_id)
  WHERE a.flaw IS NULL
)
SELECT prompt_id, chosen.response_id AS chosen_response_id, rejected.response_id AS rejected_response_id,
  NULL::DOUBLE AS chosen_value, NULL::DOUBLE AS rejected_value
FROM shown AS chosen
JOIN shown AS rejected USING (prompt_id)
WHERE chosen.response_id < rejected.response_id AND chosen.text <> rejected.text
ORDER BY prompt_id, chosen_response_id, rejected_response_id;
