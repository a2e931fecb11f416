-- set_aside.sql: prompts a run has set aside, the reasons, and how each prompt begins.
-- In: $run_id. Out: position, stage, error, prompt; in order of position.
SELECT t.position, f.stage, f.error, conversation(p.messages) AS prompt
FROM failed_prompts AS f
JOIN run_prompts AS t USING (run_id, prompt_id)
JOIN prompts AS p USING (prompt_id)
WHERE f.run_id = $run_id
ORDER BY t.position, f.prompt_id;
