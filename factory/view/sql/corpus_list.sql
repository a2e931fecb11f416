-- corpus_list.sql: after `corpus_found.sql`, one page of the prompts. In: $offset, $limit BIGINT. Out: one row per prompt,
-- by id.
, page AS (FROM found ORDER BY prompt_id LIMIT $limit OFFSET $offset)
SELECT prompt_id, left(conversation(messages), 300) AS prompt, len(messages) AS turns, page.source, page.language, page.licence, kinds AS constraints,
  page.evolved_from, has_reference
FROM page
JOIN prompts USING (prompt_id)
ORDER BY prompt_id;
