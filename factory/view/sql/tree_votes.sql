-- tree_votes.sql: judgements of some responses, without their texts. In: $run_id, $response_ids. Out: one row per judgement,
-- the deciding judge's first.
SELECT response_id, judge, kind, decides, vote, verdict, value, points, pass_points, judgement_id, call_id
FROM judgements
WHERE run_id = $run_id AND response_id IN (SELECT unnest($response_ids))
ORDER BY decides DESC, judge, vote;
