-- examples.sql: the prompts that a run was given, in the order in which they are shown as examples.
-- In: $run_id. Out: prompt_id, text.
SELECT prompt_id, conversation(messages) AS text
FROM example_order
JOIN prompts USING (prompt_id)
WHERE run_id = $run_id
ORDER BY place;
