-- judge_agreement.sql: how often two judges of a run agree on a response.
-- Out: one row per run and two of its judges that judged the same responses. other_judge: the deciding one, else the
-- later by name. agreement: 0..1; kappa: Cohen's, 0 is chance; ties: one of them reached no verdict.
CREATE TEMP VIEW judge_agreement AS
SELECT * EXCLUDE (by_chance), (agreement - by_chance) / nullif(1 - by_chance, 0) AS kappa
FROM (
  SELECT run_id, one.judge, other.judge AS other_judge, one.kind, other.kind AS other_kind, count(*) AS responses,
    count(*) FILTER (one.passed IS NULL OR other.passed IS NULL) AS ties,
    avg((one.passed = other.passed)::DOUBLE) AS agreement,
    avg(one.passed::DOUBLE) FILTER (other.passed IS NOT NULL) AS pass_rate,
    avg(other.passed::DOUBLE) FILTER (one.passed IS NOT NULL) AS other_pass_rate,
    pass_rate * other_pass_rate + (1 - pass_rate) * (1 - other_pass_rate) AS by_chance
  FROM verdicts AS one
  JOIN verdicts AS other USING (run_id, response_id)
  WHERE one.judge <> other.judge AND NOT one.decides AND (other.decides OR one.judge < other.judge)
  GROUP BY ALL
);
