-- claims.sql: prompts with an answer whose claims this stage has not checked; one without a text is no answer. Equal answers
-- share their calls, which name the first of them.
-- In: $run_id, $stage, $answers_of (the run whose answers are checked; NULL: this one), $kinds (of responses).
-- Out: prompt_id, position, in order of position.
WITH checked AS (
  SELECT DISTINCT c.prompt_id, r.text
  FROM calls AS c
  JOIN responses AS r ON r.response_id = c.response_ids[1]
  WHERE c.run_id = $run_id AND c.stage = $stage AND c.error IS NULL
)
SELECT prompt_id, min(position) AS position
FROM responses AS r
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
ANTI JOIN checked USING (prompt_id, text)
WHERE r.run_id = coalesce($answers_of, $run_id) AND list_contains($kinds, r.kind) AND flaw IS DISTINCT FROM 'empty'
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
