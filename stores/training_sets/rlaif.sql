-- rlaif.sql: the answer that is more probably better over the other, with the soft label (RLAIF, arXiv:2309.00267, 2.1).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per two answers, ordered by split and pair_id: split, prompt, chosen, rejected, probability (that
-- chosen is better), and lineage. An answer that a reviewer wrote has no soft label, and is left out.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'preferred' AND list_contains($run_ids, run_id))
SELECT *, chosen_value AS probability
FROM preference_rows('picked', 'sampled', $held_out)
WHERE chosen_value IS NOT NULL
ORDER BY split DESC, pair_id;
