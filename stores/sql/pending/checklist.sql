-- checklist.sql: prompts for which this stage has not written a checklist. One whose checklist could not be read is not asked for
-- again. In: $run_id, $stage, $evolved. Out: prompt_id, position, in order of position.
SELECT prompt_id, position
FROM run_prompts
WHERE run_id = $run_id AND evolved = $evolved
  AND prompt_id NOT IN (SELECT prompt_id FROM calls WHERE run_id = $run_id AND stage = $stage)
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
ORDER BY position, prompt_id;
