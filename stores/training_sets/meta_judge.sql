-- meta_judge.sql: a judge's best judgement of an answer over its worst, by Elo (Meta-Rewarding, arXiv:2407.19594, 2.2).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, $most_characters DOUBLE = NULL: the longest chosen judgement; NULL: any.
-- Out: preference; one row per run, stage and answer, ordered by split and chosen_judgement_id: split, prompt (the judge's),
-- chosen, rejected, and lineage.
FROM judgement_pairs($run_ids, $most_characters, $held_out)
ORDER BY split DESC, chosen_judgement_id;
