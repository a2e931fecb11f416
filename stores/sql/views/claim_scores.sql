-- claim_scores.sql: how truthful a response is, by its claims (FactTune, arXiv:2311.08401, 3).
-- Out: one row per run, stage and response that makes a claim. claims: how many; verifiable: those whose support is known;
-- supported: those supported with at least one half. support: by a corpus their share of the verifiable ones; by samples the mean
-- support of these; NULL if none is; rounded, so that equal claims in another order are a tie.
CREATE TEMP VIEW claim_scores AS
SELECT run_id, prompt_id, stage, response_id, any_value(method) AS method, count(*) AS claims, count(support) AS verifiable,
  count(*) FILTER (support >= 0.5) AS supported,
  round(if(any_value(method) = 'corpus', supported / nullif(verifiable, 0), avg(support)), 12) AS support
FROM claims
GROUP BY run_id, prompt_id, stage, response_id;
