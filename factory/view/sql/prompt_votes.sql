-- prompt_votes.sql: judgements of the answers to a prompt, without their texts. In: $prompt_id. Out: one row per judgement, the
-- deciding judge's first.
SELECT response_id, judge, kind, decides, vote, verdict, value, points, pass_points
FROM judgements
WHERE prompt_id = $prompt_id
ORDER BY decides DESC, judge, run_id, vote;
