-- critiques.sql: points that a judge gave the responses behind a training set's rows, and the points its text names last.
-- In: rows of sides.sql as `audited_sides`. Out: one row per row, side and judgement whose text names points, ordered.
WITH shown AS MATERIALIZED (
  SELECT id, 'chosen' AS side, chosen_response_id AS response_id FROM audited_sides WHERE chosen_response_id IS NOT NULL
  UNION ALL
  SELECT id, 'rejected', rejected_response_id FROM audited_sides WHERE rejected_response_id IS NOT NULL
), named AS (
  SELECT judgement_id, response_id, judge, points,
    TRY_CAST(regexp_extract_all(lower(critique), '\b(?:score|rating|grade)\b[^\w\n]{0,6}(?:(?:is|of|would be)\b[^\w\n]{0,6})?(\d+(?:\.\d+)?)\b', 1)[-1]
      AS DOUBLE) AS said
  FROM judgements
  WHERE points IS NOT NULL AND kind <> 'verifier' AND response_id IN (SELECT response_id FROM shown)
)
SELECT id, side, judge, points, said
FROM shown
JOIN named USING (response_id)
WHERE said IS NOT NULL
ORDER BY id, side, judgement_id;
