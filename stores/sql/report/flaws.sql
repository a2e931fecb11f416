-- flaws.sql: how many of a run's answers have which flaw.
-- In: $run_id. Out: one row per kind of answer and flaw: kind, flaw, answers, of_all (all answers of the kind).
SELECT kind, flaw, answers, of_all
FROM (
  SELECT kind, flaw, count(*) AS answers, (sum(count(*)) OVER (PARTITION BY kind))::BIGINT AS of_all
  FROM responses
  WHERE run_id = $run_id
  GROUP BY kind, flaw
)
WHERE flaw IS NOT NULL
ORDER BY kind DESC, answers DESC, flaw;
