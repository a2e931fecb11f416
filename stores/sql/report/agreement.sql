-- agreement.sql: how often the model and the verifier agree on a run's answers, including refinements.
-- In: $run_id. Out: at most one row.
SELECT agreement, kappa, responses AS agreement_answers, ties AS agreement_ties
FROM judge_agreement
WHERE run_id = $run_id AND kind = 'votes' AND other_kind = 'verifier'
ORDER BY judge, other_judge
LIMIT 1;
