-- judge.sql: prompts with an answer that lacks a verdict.
-- In: $run_id. Out: prompt_id, position, in the run's order.
SELECT prompt_id, min(position) AS position
FROM responses
JOIN run_prompts USING (run_id, prompt_id)
WHERE run_id = $run_id AND kind = 'sampled'
  AND response_id NOT IN (SELECT response_id FROM judgements WHERE run_id = $run_id)
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
