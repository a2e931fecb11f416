-- imported_dpo.sql: preferences of `factory import`: chosen over rejected, or the best of scored answers over the worst.
-- In:  $run_ids VARCHAR[], $min_similarity DOUBLE = 0.0, $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and two texts, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (
  FROM reviewed_pairs($reviewed_only, $exclude_rejected)
  WHERE source IN ('imported', 'imported_scores') AND list_contains($run_ids, run_id) AND similarity >= $min_similarity
)
SELECT *
FROM preference_rows('picked', 'imported', $held_out)
-- The same preference may have come in several files.
QUALIFY row_number() OVER (PARTITION BY prompt_id, chosen, rejected ORDER BY pair_id) = 1
ORDER BY split DESC, pair_id;
