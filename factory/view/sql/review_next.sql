-- review_next.sql: after `pairs_found.sql`, the next pair to review. In: $reviewer VARCHAR, $blind, $unseen BOOLEAN,
-- $skipped VARCHAR[]. Out: one row: pair_id (NULL: none is left), pairs_left, reviewed (by this reviewer).
, mine AS (SELECT pair_id FROM current_reviews WHERE reviewer = $reviewer),
todo AS (
  SELECT pair_id, doubts, similarity, list_contains($skipped::VARCHAR[], pair_id) AS later
  FROM found
  WHERE pair_id NOT IN (FROM mine) AND (NOT $unseen OR reviews IS NULL)
    AND pair_id NOT IN (SELECT pair_id FROM current_reviews WHERE verdict = 'edit')
    AND pair_id NOT IN (SELECT edited_pair_id FROM reviews WHERE reviewer = $reviewer AND edited_pair_id IS NOT NULL)
)
SELECT
  (SELECT pair_id FROM todo
    ORDER BY later, if($blind, 0, -doubts), if($blind, sha256('review' || pair_id), pair_id) LIMIT 1) AS pair_id,
  (SELECT count(*) FROM todo) AS pairs_left,
  (SELECT count(*) FROM found WHERE pair_id IN (FROM mine)) AS reviewed;
