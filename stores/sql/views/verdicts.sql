-- verdicts.sql: each judge's verdict on a response, from its judgements.
-- Out: one row per run, response and judge. value, points: means by weight; NULL if none is readable. passed: whether the points
-- reach pass_points, or the majority of the votes (SPaR, arXiv:2412.11605, 3.2); NULL for a tie, or if neither is known.
-- critique_judgement_id: the first judgement that agrees; with points only, the first readable one.
CREATE TEMP VIEW verdicts AS
SELECT run_id, prompt_id, response_id, judge, kind, decides, yes_votes, no_votes, unparsed_votes, value, points,
  CASE WHEN pass_points IS NOT NULL THEN points >= pass_points
    WHEN yes_votes > no_votes THEN true WHEN no_votes > yes_votes THEN false END AS passed,
  no_votes = 0 OR yes_votes = 0 AS unanimous,
  CASE WHEN yes_votes + no_votes = 0 THEN first_points WHEN passed THEN first_yes WHEN NOT passed THEN first_no END
    AS critique_judgement_id
FROM (
  SELECT run_id, prompt_id, response_id, judge, kind, decides,
    count(*) FILTER (verdict = 'yes') AS yes_votes,
    count(*) FILTER (verdict = 'no') AS no_votes,
    count(*) FILTER (verdict = 'unparsed') AS unparsed_votes,
    -- The plain mean where nothing has a weight: its last digit stays as it was in lakes without weights.
    if(count(weight) = 0, avg(value), sum(value * coalesce(weight, 1)) / sum(coalesce(weight, 1)) FILTER (value IS NOT NULL)) AS value,
    if(count(weight) = 0, avg(points), sum(points * coalesce(weight, 1)) / sum(coalesce(weight, 1)) FILTER (points IS NOT NULL)) AS points,
    max(pass_points) AS pass_points,
    arg_min(judgement_id, vote) FILTER (verdict = 'yes') AS first_yes,
    arg_min(judgement_id, vote) FILTER (verdict = 'no') AS first_no,
    arg_min(judgement_id, vote) FILTER (points IS NOT NULL) AS first_points
  FROM judgements
  GROUP BY ALL
);
