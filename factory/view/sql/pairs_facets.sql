-- pairs_facets.sql: after `pairs_found.sql`, one facet: `-- name`, then value (of a histogram, the bin's number) and pairs.
-- doubt
SELECT doubt AS value, count(*) AS pairs
FROM (SELECT unnest([if(longer, 'longer', NULL), if(unlike, 'unlike', NULL), if(close, 'close', NULL), if(flawed, 'flawed', NULL),
  if(disputed, 'disputed', NULL)]) AS doubt FROM found)
WHERE doubt IS NOT NULL
GROUP BY ALL
ORDER BY pairs DESC, value
-- reviewed
SELECT said AS value, count(*) AS pairs
FROM (SELECT unnest(coalesce(reviews, ['no'])) AS said FROM found)
GROUP BY ALL
ORDER BY pairs DESC, value
-- source
SELECT source AS value, count(*) AS pairs FROM found GROUP BY ALL ORDER BY pairs DESC, value LIMIT 100
-- run
SELECT run_id AS value, count(*) AS pairs FROM found GROUP BY ALL ORDER BY pairs DESC, value LIMIT 100
-- language
SELECT coalesce(language, 'unknown') AS value, count(*) AS pairs
FROM found
LEFT JOIN prompts USING (prompt_id)
GROUP BY ALL
ORDER BY pairs DESC, value
LIMIT 100
-- likeness
SELECT least(floor(similarity * 20), 19)::BIGINT AS value, count(*) AS pairs FROM found GROUP BY ALL ORDER BY value
-- margin
SELECT least(floor((margin + 1) * 10), 19)::BIGINT AS value, count(*) AS pairs
FROM found
WHERE margin IS NOT NULL
GROUP BY ALL
ORDER BY value
