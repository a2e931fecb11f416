-- preference_rows.sql: pairs as rows of a preference training set.
-- In: the name of a CTE or table with rows of `pairs`, the rows' class, the held-out share.
-- Out: one row per pair whose texts differ, as equal ones teach nothing, and are not blank, and whose chosen answer has no flaw, unless its
-- search accepts flawed ones: split, prompt, chosen, rejected, and lineage. A chosen answer that a reviewer wrote has the
-- class `edited`, and no value: no judge has read it.
CREATE TEMP MACRO preference_rows(chosen_pairs, of_class, held_out) AS TABLE
  WITH picked AS (FROM query_table(chosen_pairs)),
  sides AS MATERIALIZED (  -- both sides in one scan: texts are nearly all of a lake's bytes
    SELECT response_id, text, flaw, kind
    FROM responses
    JOIN (SELECT chosen_response_id AS side FROM picked UNION SELECT rejected_response_id FROM picked)
      ON response_id = side
  )
  SELECT
    split_of(prompt_id, held_out) AS split,
    q.messages AS prompt,
    [assistant_turn(chosen.text)] AS chosen,
    [assistant_turn(rejected.text)] AS rejected,
    if(chosen.kind = 'edited', 'edited', of_class) AS class,
    pair_id, prompt_id, picked.run_id, if(chosen.kind = 'edited', NULL, chosen_value) AS chosen_value, rejected_value, similarity, length_ratio, shared_prefix_words
  FROM picked
  JOIN prompts AS q USING (prompt_id)
  JOIN sides AS chosen ON chosen.response_id = chosen_response_id
  JOIN sides AS rejected ON rejected.response_id = rejected_response_id
  WHERE chosen.text <> rejected.text AND NOT is_blank(chosen.text) AND NOT is_blank(rejected.text)
    AND (chosen.flaw IS NULL OR tree_id IN (FROM flawed_accepted));
