-- corpus_found.sql: the prompts that pass the filters of the corpus: the beginning of a query, `found`, that others end.
-- In: $source, $language, $licence, $constraint (a kind, or none), $run, $text VARCHAR: each NULL for all.
WITH found AS (
  SELECT prompt_id, source, coalesce(language, 'unknown') AS language, coalesce(licence, 'unknown') AS licence,
    list_distinct(list_transform(constraints, lambda one: one.id)) AS kinds, evolved_from, reference IS NOT NULL AS has_reference
  FROM prompts
  WHERE ($source IS NULL OR source = $source) AND ($language IS NULL OR coalesce(language, 'unknown') = $language)
    AND ($licence IS NULL OR coalesce(licence, 'unknown') = $licence)
    AND ($constraint IS NULL OR CASE $constraint WHEN 'none' THEN len(constraints) = 0
      ELSE list_contains(list_transform(constraints, lambda one: one.id), $constraint) END)
    AND ($run IS NULL OR prompt_id IN (SELECT prompt_id FROM run_prompts WHERE run_id = $run))
    AND ($text IS NULL OR len(list_filter(messages, lambda one: contains(lower(one.content), lower($text)))) > 0)
)
