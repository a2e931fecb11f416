-- spin.sql: the reference answer over the model's own (SPIN, arXiv:2401.01335, eq. 4.7).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'reference_over_sampled' AND list_contains($run_ids, run_id))
FROM preference_rows('picked', 'reference', $held_out)
ORDER BY split DESC, pair_id;
