-- compare_rows.sql: two lists of rows, compared by prompt and texts. In: `compared_a`, `compared_b` (id, prompt_id, first,
-- second, value, similarity).
-- Out: one row per row of either: what (same, changed, removed: only in a, added: only in b), prompt_id, and of both sides
-- the id, texts, words, value, similarity. Rows of a prompt that differ are set side by side in the order of their ids.
WITH a AS MATERIALIZED (  -- counted, as a set of somebody's own may have an id twice
  SELECT *, row_number() OVER (ORDER BY id, first, second) AS n, row_number() OVER (PARTITION BY prompt_id, first, second ORDER BY id) AS copy
  FROM compared_a
), b AS MATERIALIZED (
  SELECT *, row_number() OVER (ORDER BY id, first, second) AS n, row_number() OVER (PARTITION BY prompt_id, first, second ORDER BY id) AS copy
  FROM compared_b
), same AS (
  SELECT a.n AS a_n, b.n AS b_n
  FROM a
  JOIN b ON a.prompt_id = b.prompt_id AND a.first = b.first AND a.second IS NOT DISTINCT FROM b.second AND a.copy = b.copy
), paired AS (
  SELECT a_n, b_n FROM same
  UNION ALL
  SELECT one.n, other.n
  FROM (SELECT n, prompt_id, row_number() OVER (PARTITION BY prompt_id ORDER BY n) AS place FROM a ANTI JOIN same ON n = a_n) AS one
  FULL JOIN (SELECT n, prompt_id, row_number() OVER (PARTITION BY prompt_id ORDER BY n) AS place FROM b ANTI JOIN same ON n = b_n) AS other
    ON one.prompt_id = other.prompt_id AND one.place = other.place
)
SELECT
  CASE WHEN b_n IS NULL THEN 'removed' WHEN a_n IS NULL THEN 'added'
    WHEN a.first = b.first AND a.second IS NOT DISTINCT FROM b.second THEN 'same' ELSE 'changed' END AS what,
  coalesce(a.prompt_id, b.prompt_id) AS prompt_id, a.first AS first_a, b.first AS first_b, a.second AS second_a, b.second AS second_b,
  words_in(a.first) AS words_a, words_in(b.first) AS words_b, a.value AS value_a, b.value AS value_b, a.similarity AS similarity_a,
  b.similarity AS similarity_b, a.id AS id_a, b.id AS id_b
FROM paired
LEFT JOIN a ON a.n = a_n
LEFT JOIN b ON b.n = b_n
ORDER BY what, prompt_id, id_a, id_b;
