-- failed_prompts.sql: prompts a run has set aside, with the reason. One row per run and prompt.
CREATE TEMP VIEW failed_prompts AS
SELECT run_id, prompt_id, arg_min(error, started_at) AS error, arg_min(stage, started_at) AS stage
FROM calls
WHERE error IS NOT NULL
GROUP BY run_id, prompt_id;
