-- all_ordered.sql: every sampled answer of a prompt that has no flaw over every worse one.
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: a judge, or a stage that compares or checks claims, to rank by; NULL: the deciding judge, else such stages.
-- Out: one row per two answers that differ in rank and text.
WITH ranked AS (
  SELECT a.*, text
  FROM ranked_answers([$run_id], $prompt_ids, $judge) AS a
  JOIN responses USING (response_id)
)
SELECT prompt_id, chosen.response_id AS chosen_response_id, rejected.response_id AS rejected_response_id,
  chosen.value AS chosen_value, rejected.value AS rejected_value
FROM ranked AS chosen
JOIN ranked AS rejected USING (prompt_id)
WHERE chosen.rank > rejected.rank AND chosen.flaw IS NULL AND chosen.text <> rejected.text
ORDER BY prompt_id, chosen_response_id, rejected_response_id;
