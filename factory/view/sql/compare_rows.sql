-- compare_rows.sql: two lists of rows, compared by prompt and texts. In: `compared_a`, `compared_b` (id, prompt_id, first,
-- second, value, similarity).
-- Out: one row per row of either: what (same, changed, removed: only in a, added: only in b), prompt_id, and of both sides
-- the id, texts, words, value, similarity. Rows of a prompt that differ are set side by side in the order of their ids.
WITH a AS (
  SELECT *, row_number() OVER (PARTITION BY prompt_id, first, second ORDER BY id) AS copy FROM compared_a
), b AS (
  SELECT *, row_number() OVER (PARTITION BY prompt_id, first, second ORDER BY id) AS copy FROM compared_b
), same AS (
  SELECT a.id AS a_id, b.id AS b_id
  FROM a
  JOIN b ON a.prompt_id = b.prompt_id AND a.first = b.first AND a.second IS NOT DISTINCT FROM b.second AND a.copy = b.copy
), paired AS (
  SELECT a_id, b_id FROM same
  UNION ALL
  SELECT one.id, other.id
  FROM (SELECT id, prompt_id, row_number() OVER (PARTITION BY prompt_id ORDER BY id) AS n FROM a ANTI JOIN same ON id = a_id) AS one
  FULL JOIN (SELECT id, prompt_id, row_number() OVER (PARTITION BY prompt_id ORDER BY id) AS n FROM b ANTI JOIN same ON id = b_id) AS other
    ON one.prompt_id = other.prompt_id AND one.n = other.n
)
SELECT
  CASE WHEN b.id IS NULL THEN 'removed' WHEN a.id IS NULL THEN 'added'
    WHEN a.first = b.first AND a.second IS NOT DISTINCT FROM b.second THEN 'same' ELSE 'changed' END AS what,
  coalesce(a.prompt_id, b.prompt_id) AS prompt_id, a.first AS first_a, b.first AS first_b, a.second AS second_a, b.second AS second_b,
  words_in(a.first) AS words_a, words_in(b.first) AS words_b, a.value AS value_a, b.value AS value_b, a.similarity AS similarity_a,
  b.similarity AS similarity_b, a.id AS id_a, b.id AS id_b
FROM paired
LEFT JOIN compared_a AS a ON a.id = a_id
LEFT JOIN compared_b AS b ON b.id = b_id
ORDER BY what, prompt_id, id_a, id_b;
