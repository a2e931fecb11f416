-- evolve.sql: prompts that the run has not tried to make harder.
-- In: $run_id, $stage. Out: prompt_id, position, in order of position.
SELECT prompt_id, position
FROM run_prompts
WHERE run_id = $run_id AND NOT evolved
  AND prompt_id NOT IN (SELECT prompt_id FROM calls WHERE run_id = $run_id AND stage = $stage)
ORDER BY position, prompt_id;
