-- tree_votes.sql: judgements of some responses, without their texts. In: $run_id, {ids} of responses. Out: one row per judgement,
-- the deciding judge's first.
SELECT response_id, judge, kind, decides, vote, verdict, value, points, pass_points
FROM judgements
WHERE run_id = $run_id AND response_id IN ({ids})
ORDER BY decides DESC, judge, vote;
