-- earlier_prompts.sql: the prompts that a run was given, and all of the runs that began before it, also those they made.
-- In: $run_id. Out: prompt_id, text, in order of prompt_id.
WITH began AS (SELECT run_id, min(started_at) AS began_at FROM runs GROUP BY run_id),
taken AS (
  SELECT DISTINCT prompt_id
  FROM run_prompts
  JOIN began USING (run_id)
  WHERE (run_id = $run_id AND NOT evolved) OR began_at < (SELECT began_at FROM began WHERE run_id = $run_id)
)
SELECT prompt_id, conversation(messages) AS text
FROM prompts
SEMI JOIN taken USING (prompt_id)
ORDER BY prompt_id;
