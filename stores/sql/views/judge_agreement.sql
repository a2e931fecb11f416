-- judge_agreement.sql: how often the model judge's majority and the verifier say the same of a response.
-- Out: one row a run in which both judged. agreement: 0..1; kappa: Cohen's, 0 is chance; ties are counted apart.
CREATE VIEW judge_agreement AS
SELECT run_id, responses, ties, agreement, votes_pass_rate, verifier_pass_rate,
  (agreement - by_chance) / nullif(1 - by_chance, 0) AS kappa
FROM (
  SELECT run_id, count(*) AS responses, count(*) FILTER (votes.passed IS NULL) AS ties,
    avg((votes.passed = verifier.passed)::DOUBLE) AS agreement,
    avg(votes.passed::DOUBLE) AS votes_pass_rate,
    avg(verifier.passed::DOUBLE) FILTER (votes.passed IS NOT NULL) AS verifier_pass_rate,
    votes_pass_rate * verifier_pass_rate + (1 - votes_pass_rate) * (1 - verifier_pass_rate) AS by_chance
  FROM (FROM verdicts WHERE judge = 'votes') AS votes
  JOIN (FROM verdicts WHERE judge = 'verifier') AS verifier USING (run_id, response_id)
  GROUP BY run_id
);
