-- agreement.sql: how often the model and the verifier say the same of a run's answers, refined ones included.
-- In: $run_id. Out: no row or one.
SELECT agreement, kappa, responses AS agreement_answers, ties AS agreement_ties
FROM judge_agreement
WHERE run_id = $run_id AND kind = 'votes' AND other_kind = 'verifier'
ORDER BY judge, other_judge
LIMIT 1;
