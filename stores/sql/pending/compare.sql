-- compare.sql: prompts with two sampled answers not yet compared in both orders; one without a text is no answer.
-- In: $run_id, $stage. Out: prompt_id, position, in order of position.
WITH answers AS (
  SELECT prompt_id, count(*) AS answers
  FROM responses
  WHERE run_id = $run_id AND kind = 'sampled' AND flaw IS DISTINCT FROM 'empty'
  GROUP BY prompt_id
), compared AS (
  SELECT prompt_id, count(*) AS orders FROM comparisons WHERE run_id = $run_id AND stage = $stage GROUP BY prompt_id
)
SELECT prompt_id, position
FROM answers
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
LEFT JOIN compared USING (prompt_id)
WHERE coalesce(orders, 0) < answers * (answers - 1)
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
ORDER BY position, prompt_id;
