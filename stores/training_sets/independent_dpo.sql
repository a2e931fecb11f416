-- independent_dpo.sql: passing over failing sampled answer of the same prompt: the control 'with distractions'.
-- In:  $run_ids VARCHAR[], $min_similarity DOUBLE = 0.0, $held_out DOUBLE = 0.1.
-- Out: preference; one row a prompt, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH best AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM pairs
  WHERE source = 'sampling' AND list_contains($run_ids, run_id) AND similarity >= $min_similarity
  ORDER BY prompt_id, chosen_value DESC, pair_id
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  q.messages AS prompt,
  [assistant_turn(chosen.text)] AS chosen,
  [assistant_turn(rejected.text)] AS rejected,
  'sampled' AS class,
  pair_id, prompt_id, best.run_id, chosen_value, rejected_value, similarity, length_ratio, shared_prefix_words
FROM best
JOIN prompts AS q USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = chosen_response_id
JOIN responses AS rejected ON rejected.response_id = rejected_response_id
WHERE chosen.text <> rejected.text
ORDER BY split DESC, pair_id;
