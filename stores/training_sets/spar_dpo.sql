-- spar_dpo.sql: the actor's preference pairs, refined > failed (SPaR, arXiv:2412.11605, 3.3).
-- In:  $run_ids VARCHAR[], $min_value DOUBLE = 0.5, $min_similarity DOUBLE = 0.0, $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH best AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM reviewed_pairs($reviewed_only, $exclude_rejected)
  WHERE source = 'refined_over_failed' AND list_contains($run_ids, run_id)
    AND chosen_value > $min_value AND similarity >= $min_similarity
  ORDER BY prompt_id, chosen_value DESC, pair_id
)
FROM preference_rows('best', 'refined', $held_out)
ORDER BY split DESC, pair_id;
