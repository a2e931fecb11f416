-- best_over_worst.sql: a prompt's best sampled answer over its worst (Self-Rewarding, arXiv:2401.10020).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1.
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (FROM pairs WHERE source = 'best_over_worst' AND list_contains($run_ids, run_id))
FROM preference_rows('picked', 'sampled', $held_out)
ORDER BY split DESC, pair_id;
