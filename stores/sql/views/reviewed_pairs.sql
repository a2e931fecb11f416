-- reviewed_pairs.sql: pairs as people's reviews leave them; training sets read it where they would read `pairs`.
-- In:  exclude_rejected: leave out each pair that somebody's current review rejects or edits; an edited pair, whose answer
--      the review's author wrote, takes the place of the one it was made from. false: all pairs but the edited ones.
--      reviewed_only: of these, only those that somebody accepted or wrote (exclude_rejected false: that somebody reviewed).
-- Out: rows of `pairs`. chosen_value of an edited pair is that of the pair it was made from, so that it is chosen where that
--      one would have been: no judge has read the edited answer.
CREATE TEMP MACRO reviewed_pairs(reviewed_only, exclude_rejected) AS TABLE
  WITH RECURSIVE said AS MATERIALIZED (
    SELECT pair_id, bool_or(verdict = 'accept') AS accepted, bool_or(verdict IN ('reject', 'edit')) AS refused,
      -- Of two people's edits the newer one.
      arg_max(edited_pair_id, {'at': reviewed_at, 'id': review_id}) FILTER (verdict = 'edit') AS edited_pair_id
    FROM current_reviews
    GROUP BY pair_id
  ),
  edited AS MATERIALIZED (SELECT DISTINCT edited_pair_id AS pair_id FROM reviews WHERE edited_pair_id IS NOT NULL),
  in_place AS (  -- an edited pair may have been edited again; one whose edit was taken back is in no place
    SELECT pair_id AS original_id, edited_pair_id AS pair_id
    FROM said
    WHERE edited_pair_id IS NOT NULL AND pair_id NOT IN (FROM edited)
    UNION
    SELECT original_id, said.edited_pair_id
    FROM in_place
    JOIN said USING (pair_id)
    WHERE said.edited_pair_id IS NOT NULL
  ),
  placed AS (SELECT in_place.pair_id, chosen_value FROM in_place JOIN pairs ON pairs.pair_id = original_id)
  SELECT p.* REPLACE (coalesce(p.chosen_value, placed.chosen_value) AS chosen_value)
  FROM pairs AS p
  LEFT JOIN said USING (pair_id)
  LEFT JOIN placed USING (pair_id)
  WHERE (p.pair_id NOT IN (FROM edited) OR exclude_rejected AND placed.pair_id IS NOT NULL)
    AND (NOT exclude_rejected OR said.refused IS NOT true)
    AND (NOT reviewed_only OR CASE WHEN exclude_rejected THEN said.accepted IS true OR placed.pair_id IS NOT NULL
      ELSE said.pair_id IS NOT NULL END);
