-- search.sql: prompts with a failed answer that lacks a tree: one answer a prompt, or with $every each of them.
-- In: $run_id, $every. Out: prompt_id, position, in the run's order.
WITH roots AS (
  -- A choice by hash, not by chance, and the same one in every run that got the same answers.
  SELECT prompt_id, response_id,
    row_number() OVER (PARTITION BY prompt_id ORDER BY sha256(text), response_id) = 1 AS first
  FROM failed_responses
  WHERE run_id = $run_id
)
SELECT prompt_id, min(position) AS position
FROM roots
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
WHERE ($every OR first)
  AND response_id NOT IN (SELECT root_response_id FROM trees WHERE run_id = $run_id)
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
