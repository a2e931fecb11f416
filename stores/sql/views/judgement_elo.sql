-- judgement_elo.sql: how good each of a response's judgements is, by the comparisons of a meta-judge (Meta-Rewarding,
-- arXiv:2407.19594, 2.2). Out: one row per run, stage, response and compared judgement: won, the weight of the comparisons it
-- won, compared, of all; elo: 400 log10 of its strength in the Bradley-Terry model, in which strength s beats t with probability
-- s / (s + t). A win in the position that wins more often in that run and stage counts less: by the share of the other
-- position's wins. One drawn comparison with a judgement of strength 1 (elo 0) is added to each, which keeps elo finite.
CREATE TEMP VIEW judgement_elo AS
WITH RECURSIVE read AS (
  SELECT run_id, prompt_id, response_id, stage, first_judgement_id, second_judgement_id, probability,
    avg(1 - probability) OVER (PARTITION BY run_id, stage) AS first_weight
  FROM meta_judgements
  WHERE probability IS NOT NULL
),
sides AS (
  SELECT run_id, prompt_id, response_id, stage, first_judgement_id AS judgement_id, second_judgement_id AS other_id,
    probability * first_weight AS won, (1 - probability) * (1 - first_weight) AS lost
  FROM read
  UNION ALL
  SELECT run_id, prompt_id, response_id, stage, second_judgement_id, first_judgement_id, (1 - probability) * (1 - first_weight),
    probability * first_weight
  FROM read
),
met AS (
  SELECT run_id, prompt_id, response_id, stage, judgement_id, other_id, sum(won) AS won, sum(lost) AS lost
  FROM sides
  GROUP BY ALL
),
fit AS (  -- 50 steps of Zermelo's algorithm as M. Newman speeds it up (arXiv:2207.00076)
  SELECT run_id, prompt_id, response_id, stage, judgement_id, sum(won) AS won, sum(won + lost) AS compared, 0 AS step, 1.0::DOUBLE AS strength
  FROM met
  GROUP BY ALL
  UNION ALL
  SELECT one.run_id, one.prompt_id, one.response_id, one.stage, one.judgement_id, one.won, one.compared, one.step + 1,
    (0.5 / (one.strength + 1) + sum(met.won * other.strength / (one.strength + other.strength)))
      / (0.5 / (one.strength + 1) + sum(met.lost / (one.strength + other.strength)))
  FROM fit AS one
  JOIN met ON met.run_id = one.run_id AND met.stage = one.stage AND met.judgement_id = one.judgement_id
  JOIN fit AS other ON other.run_id = met.run_id AND other.stage = met.stage AND other.judgement_id = met.other_id
  WHERE one.step < 50
  GROUP BY one.run_id, one.prompt_id, one.response_id, one.stage, one.judgement_id, one.won, one.compared, one.step, one.strength
)
SELECT run_id, prompt_id, response_id, stage, judgement_id, won, compared, 400 * log10(strength) AS elo
FROM fit
WHERE step = 50;
