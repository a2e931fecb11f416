-- reference.sql: prompts whose reference answer is not a response of the run yet.
-- In: $run_id, $evolved. Out: prompt_id, position, in the run's order.
SELECT prompt_id, position
FROM run_prompts
WHERE run_id = $run_id AND evolved = $evolved
  AND prompt_id IN (SELECT prompt_id FROM prompts WHERE reference <> '')
  AND prompt_id NOT IN (SELECT prompt_id FROM responses WHERE run_id = $run_id AND kind = 'reference')
ORDER BY position, prompt_id;
