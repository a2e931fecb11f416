-- spar_dpo.sql: the actor's preference pairs, refined > failed (SPaR, arXiv:2412.11605, 3.3).
-- In:  $run_ids VARCHAR[], $min_value DOUBLE = 0.5, $min_similarity DOUBLE = 0.0, $held_out DOUBLE = 0.1.
-- Out: preference; one row a prompt, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH best AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM pairs
  WHERE source = 'tree' AND list_contains($run_ids, run_id)
    AND chosen_value > $min_value AND similarity >= $min_similarity
  ORDER BY prompt_id, chosen_value DESC, pair_id
),
sides AS MATERIALIZED (  -- both sides in one reading: texts are nearly all of a lake's bytes
  SELECT response_id, text
  FROM responses
  JOIN (SELECT chosen_response_id AS side FROM best UNION SELECT rejected_response_id FROM best) ON response_id = side
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  q.messages AS prompt,
  [assistant_turn(chosen.text)] AS chosen,
  [assistant_turn(rejected.text)] AS rejected,
  'refined' AS class,
  pair_id, prompt_id, best.run_id, chosen_value, rejected_value, similarity, length_ratio, shared_prefix_words
FROM best
JOIN prompts AS q USING (prompt_id)
JOIN sides AS chosen ON chosen.response_id = chosen_response_id
JOIN sides AS rejected ON rejected.response_id = rejected_response_id
WHERE chosen.text <> rejected.text  -- a refiner may hand back its input: such a pair teaches nothing
ORDER BY split DESC, pair_id;
