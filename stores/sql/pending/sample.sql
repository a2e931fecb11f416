-- sample.sql: prompts that this stage has not answered. If the recipe evolves prompts, only evolved ones are answered.
-- In: $run_id, $stage, $evolved. Out: prompt_id, position, in order of position.
SELECT prompt_id, position
FROM run_prompts
WHERE run_id = $run_id AND evolved = $evolved
  AND prompt_id NOT IN (SELECT prompt_id FROM responses WHERE run_id = $run_id AND kind = 'sampled' AND stage = $stage)
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
ORDER BY position, prompt_id;
