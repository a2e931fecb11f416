-- set_aside.sql: prompts that a run has set aside, why, and how each begins.
-- In: $run_id. Out: position, stage, error, prompt; in the run's order.
SELECT t.position, f.stage, f.error, conversation(p.messages) AS prompt
FROM failed_prompts AS f
JOIN run_prompts AS t USING (run_id, prompt_id)
JOIN prompts AS p USING (prompt_id)
WHERE f.run_id = $run_id
ORDER BY t.position, f.prompt_id;
