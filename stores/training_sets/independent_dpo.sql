-- independent_dpo.sql: a passing sampled answer over a failing one of the same prompt: the control 'with distractions'.
-- In:  $run_ids VARCHAR[], $min_similarity DOUBLE = 0.0, $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH best AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM reviewed_pairs($reviewed_only, $exclude_rejected)
  WHERE source = 'passing_over_failing' AND list_contains($run_ids, run_id) AND similarity >= $min_similarity
  ORDER BY prompt_id, chosen_value DESC, pair_id
)
FROM preference_rows('best', 'sampled', $held_out)
ORDER BY split DESC, pair_id;
