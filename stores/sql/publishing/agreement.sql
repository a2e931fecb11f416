-- agreement.sql: how often two judges of the same runs agree on a response. In: $runs VARCHAR[]. Out: see judge_agreement.
SELECT judge, other_judge, kind, other_kind, responses, agreement, kappa
FROM judge_agreement
WHERE list_contains($runs, run_id)
ORDER BY run_id, judge, other_judge;
