-- answered_prompts.sql: a run's prompts that have an answer with a text.
-- In: $run_id, $kinds (of responses). Out: prompt_id, in the run's order.
SELECT prompt_id
FROM run_prompts
WHERE run_id = $run_id AND prompt_id IN (
  SELECT prompt_id
  FROM responses
  WHERE run_id = $run_id AND list_contains($kinds, kind) AND flaw IS DISTINCT FROM 'empty'
)
ORDER BY position, prompt_id;
