-- compare.sql: prompts with two answers not yet compared in both orders; one without a text is no answer.
-- In: $run_id, $stage, $answers_of (the run whose answers are compared; NULL: this one), $kinds (of responses), $which
-- (every: every two answers; paired: the pairs of that run). Out: prompt_id, position, in order of position.
WITH answers AS (
  SELECT prompt_id, response_id
  FROM responses
  WHERE run_id = coalesce($answers_of, $run_id) AND list_contains($kinds, kind) AND flaw IS DISTINCT FROM 'empty'
), wanted AS (
  SELECT prompt_id, count(*) * (count(*) - 1) AS orders FROM answers WHERE $which = 'every' GROUP BY prompt_id
  UNION ALL
  SELECT prompt_id, 2 * count(DISTINCT (least(chosen_response_id, rejected_response_id), greatest(chosen_response_id, rejected_response_id)))
  FROM pairs
  WHERE $which = 'paired' AND run_id = coalesce($answers_of, $run_id)
    AND chosen_response_id IN (SELECT response_id FROM answers) AND rejected_response_id IN (SELECT response_id FROM answers)
  GROUP BY prompt_id
), compared AS (
  SELECT prompt_id, count(*) AS done FROM comparisons WHERE run_id = $run_id AND stage = $stage GROUP BY prompt_id
)
SELECT prompt_id, position
FROM wanted
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
LEFT JOIN compared USING (prompt_id)
WHERE coalesce(done, 0) < orders
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
ORDER BY position, prompt_id;
