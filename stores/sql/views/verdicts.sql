-- verdicts.sql: what each judge's votes on a response come to (majority; SPaR, arXiv:2412.11605, 3.2).
-- Out: one row a run, response and judge. passed: NULL for a tie or no readable vote. value: 0..1, share of yes
-- among readable votes; a response that fails the verifier has half the share of constraints it follows, so that
-- of two failing ones the nearer is the greater. critique_judgement_id: the first critique that agrees.
CREATE VIEW verdicts AS
SELECT *, no_votes = 0 OR yes_votes = 0 AS unanimous,
  CASE WHEN passed THEN first_yes WHEN NOT passed THEN first_no END AS critique_judgement_id
FROM (
  SELECT run_id, prompt_id, response_id, judge, decides,
    count(*) FILTER (verdict = 'yes') AS yes_votes,
    count(*) FILTER (verdict = 'no') AS no_votes,
    count(*) FILTER (verdict = 'unparsed') AS unparsed_votes,
    avg(CASE verdict WHEN 'yes' THEN 1.0 WHEN 'no' THEN coalesce(score / 2, 0.0) END) AS value,
    CASE WHEN yes_votes > no_votes THEN true WHEN no_votes > yes_votes THEN false END AS passed,
    arg_min(judgement_id, vote) FILTER (verdict = 'yes') AS first_yes,
    arg_min(judgement_id, vote) FILTER (verdict = 'no') AS first_no
  FROM judgements
  GROUP BY ALL
);
