-- critiques.sql: what judges wrote about some responses. In: $run_id, {ids} of responses. Out: one row per judgement, the
-- deciding judge's first.
SELECT judgement_id, response_id, judge, kind, decides, vote, verdict, points, critique, call_id
FROM judgements
WHERE run_id = $run_id AND response_id IN ({ids})
ORDER BY decides DESC, judge, vote;
