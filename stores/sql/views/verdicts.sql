-- verdicts.sql: each judge's verdict on a response, from its judgements.
-- Out: one row per run, response and judge. value, points: the mean; of a checklist, of its items' means by weight (RLCF,
-- arXiv:2507.18624), NULL if an item has no readable score: what is left of it would say something else. passed: whether the points
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
  -- Each judgement by itself, or all of an item in one.
  WITH said AS (
    SELECT run_id, prompt_id, response_id, judge, kind, decides, judgement_id, vote, verdict, value, points, pass_points,
      NULL::DOUBLE AS weight, (verdict = 'unparsed')::BIGINT AS unparsed
    FROM judgements
    WHERE item_id IS NULL
    UNION ALL
    SELECT run_id, prompt_id, response_id, judge, kind, decides, arg_min(judgement_id, vote) FILTER (points IS NOT NULL),
      min(vote) FILTER (points IS NOT NULL), NULL, avg(value), avg(points), max(pass_points), coalesce(any_value(weight), 1),
      count(*) FILTER (verdict = 'unparsed')
    FROM judgements
    WHERE item_id IS NOT NULL
    GROUP BY run_id, prompt_id, response_id, judge, kind, decides, item_id
  )
  SELECT run_id, prompt_id, response_id, judge, kind, decides,
    count(*) FILTER (verdict = 'yes') AS yes_votes,
    count(*) FILTER (verdict = 'no') AS no_votes,
    sum(unparsed)::BIGINT AS unparsed_votes,
    CASE WHEN count(weight) = 0 THEN avg(value)
      WHEN count(value) = count(weight) THEN sum(value * weight) / nullif(sum(weight), 0) END AS value,
    CASE WHEN count(weight) = 0 THEN avg(points)
      WHEN count(points) = count(weight) THEN sum(points * weight) / nullif(sum(weight), 0) END AS points,
    max(pass_points) AS pass_points,
    arg_min(judgement_id, vote) FILTER (verdict = 'yes') AS first_yes,
    arg_min(judgement_id, vote) FILTER (verdict = 'no') AS first_no,
    arg_min(judgement_id, vote) FILTER (points IS NOT NULL) AS first_points
  FROM said
  GROUP BY ALL
);
