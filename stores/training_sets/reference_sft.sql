-- reference_sft.sql: prompts with the answers that were given for them, to imitate before the first round (SFT).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1.
-- Out: prompt_completion; one row per prompt, ordered by split and prompt_id: split, prompt, completion, and lineage.
WITH taken AS (
  SELECT prompt_id, min(run_id) AS run_id
  FROM run_prompts
  WHERE list_contains($run_ids, run_id) AND NOT evolved
  GROUP BY prompt_id
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  messages AS prompt,
  [assistant_turn(reference)] AS completion,
  'reference' AS class,
  prompt_id, run_id
FROM prompts
JOIN taken USING (prompt_id)
WHERE NOT is_blank(reference)
ORDER BY split DESC, prompt_id;
