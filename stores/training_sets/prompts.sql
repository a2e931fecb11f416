-- prompts.sql: the prompts of runs, for online training, in which the policy answers them itself (docs/trainers.md).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1.
-- Out: prompt; one row per prompt, ordered by split and prompt_id: split, prompt, constraints, reference, and lineage.
WITH taken AS (
  SELECT prompt_id, min(run_id) AS run_id
  FROM run_prompts
  WHERE list_contains($run_ids, run_id)
  GROUP BY prompt_id
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  messages AS prompt,
  constraints, reference, prompt_id, run_id
FROM prompts
JOIN taken USING (prompt_id)
ORDER BY split DESC, prompt_id;
