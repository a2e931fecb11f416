-- delta.sql: a stronger model's answer over a weaker one's (Delta Learning, arXiv:2507.06187).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'stronger_over_weaker' AND list_contains($run_ids, run_id))
FROM preference_rows('picked', 'sampled', $held_out)
ORDER BY split DESC, pair_id;
