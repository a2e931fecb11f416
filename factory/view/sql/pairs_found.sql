-- pairs_found.sql: the pairs that pass the filters of a list: the beginning of a query, `found`, that others end.
-- In: $run, $source, $language, $reviewed, $doubt VARCHAR, $likeness_from, $likeness_to, $margin_from, $margin_to DOUBLE,
--     $ids VARCHAR[] (the pairs of a set): each NULL for all; $cheap BOOLEAN: without flawed and disputed, which other
--     and larger tables tell.
WITH said AS (
  SELECT pair_id, list(DISTINCT verdict ORDER BY verdict) AS reviews FROM current_reviews GROUP BY pair_id
), slow AS (
  SELECT pair_id, flawed, disputed FROM pair_doubts WHERE NOT $cheap
), doubted AS (
  SELECT *, coalesce(length_ratio >= 1.5, true) AS longer, similarity < 0.2 AS unlike,
    chosen_value - rejected_value AS margin, coalesce(margin < 0.25, false) AS close
  FROM pairs
), found AS (
  SELECT d.*, flawed, disputed, reviews, longer::BIGINT + unlike::BIGINT + close::BIGINT + coalesce(flawed, false)::BIGINT +
    coalesce(disputed, false)::BIGINT AS doubts
  FROM doubted AS d
  LEFT JOIN slow USING (pair_id)
  LEFT JOIN said USING (pair_id)
  WHERE ($run IS NULL OR run_id = $run) AND ($source IS NULL OR source = $source)
    AND ($language IS NULL OR prompt_id IN (SELECT prompt_id FROM prompts WHERE coalesce(language, 'unknown') = $language))
    AND ($ids::VARCHAR[] IS NULL OR pair_id IN (SELECT unnest($ids::VARCHAR[])))
    AND ($likeness_from IS NULL OR similarity >= $likeness_from) AND ($likeness_to IS NULL OR similarity < $likeness_to)
    AND ($margin_from IS NULL OR margin >= $margin_from) AND ($margin_to IS NULL OR margin < $margin_to)
    AND ($doubt IS NULL OR CASE $doubt WHEN 'longer' THEN longer WHEN 'unlike' THEN unlike WHEN 'close' THEN close
      WHEN 'flawed' THEN flawed WHEN 'disputed' THEN disputed END)
    AND ($reviewed IS NULL OR CASE $reviewed WHEN 'no' THEN reviews IS NULL ELSE list_contains(reviews, $reviewed) END)
)
