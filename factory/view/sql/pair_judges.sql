-- pair_judges.sql: what each judge said of the two sides of a pair. In: $chosen, $rejected VARCHAR (responses).
-- Out: one row per run and judge, those that decide first: model, and of each side the verdict's parts; NULL: not judged.
WITH said AS (
  FROM verdicts WHERE response_id IN ($chosen, $rejected)
), models_asked AS (
  SELECT run_id, judge, string_agg(DISTINCT name, ', ' ORDER BY name) AS model
  FROM judgements
  JOIN models USING (model_id)
  WHERE response_id IN ($chosen, $rejected)
  GROUP BY run_id, judge
)
SELECT run_id, judge, any_value(kind) AS kind, bool_or(decides) AS decides, any_value(m.model) AS model,
  any_value(passed) FILTER (response_id = $chosen) AS chosen_passed,
  any_value(value) FILTER (response_id = $chosen) AS chosen_value,
  any_value(points) FILTER (response_id = $chosen) AS chosen_points,
  any_value([yes_votes, no_votes, unparsed_votes]) FILTER (response_id = $chosen) AS chosen_votes,
  any_value(passed) FILTER (response_id = $rejected) AS rejected_passed,
  any_value(value) FILTER (response_id = $rejected) AS rejected_value,
  any_value(points) FILTER (response_id = $rejected) AS rejected_points,
  any_value([yes_votes, no_votes, unparsed_votes]) FILTER (response_id = $rejected) AS rejected_votes
FROM said
LEFT JOIN models_asked AS m USING (run_id, judge)
GROUP BY run_id, judge
ORDER BY decides DESC, run_id, judge;
