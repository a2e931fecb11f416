-- reference.sql: prompts whose reference answer is not yet a response of the run.
-- In: $run_id, $evolved. Out: prompt_id, position, in order of position.
SELECT prompt_id, position
FROM run_prompts
WHERE run_id = $run_id AND evolved = $evolved
  AND prompt_id IN (SELECT prompt_id FROM prompts WHERE reference <> '')
  AND prompt_id NOT IN (SELECT prompt_id FROM responses WHERE run_id = $run_id AND kind = 'reference')
ORDER BY position, prompt_id;
