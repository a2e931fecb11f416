-- best_of_n_sft.sql: each prompt's best sampled answer without a flaw, to imitate (best-of-n, rejection sampling).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, $only_passing BIGINT = 1: 1 leaves out answers the judge failed.
-- Out: prompt_completion; one row per prompt, ordered by split and response_id: split, prompt, completion, and lineage.
WITH best AS (
  -- rank: the deciding judge's points, else its value, else the win rate.
  SELECT DISTINCT ON (prompt_id) *
  FROM ranked_answers($run_ids, NULL, NULL)
  WHERE flaw IS NULL AND ($only_passing = 0 OR passed IS NOT false)
  ORDER BY prompt_id, rank DESC, response_id
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  q.messages AS prompt,
  [assistant_turn(r.text)] AS completion,
  'sampled' AS class,
  response_id, prompt_id, best.run_id, points, best.value, passed
FROM best
JOIN prompts AS q USING (prompt_id)
JOIN responses AS r USING (response_id)
ORDER BY split DESC, response_id;
