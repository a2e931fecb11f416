-- corpus_facets.sql: after `corpus_found.sql`, one facet: `-- name`, then value and prompts.
-- source
SELECT source AS value, count(*) AS prompts FROM found GROUP BY ALL ORDER BY prompts DESC, value LIMIT 100
-- language
SELECT language AS value, count(*) AS prompts FROM found GROUP BY ALL ORDER BY prompts DESC, value LIMIT 100
-- licence
SELECT licence AS value, count(*) AS prompts FROM found GROUP BY ALL ORDER BY prompts DESC, value LIMIT 100
-- constraint
SELECT kind AS value, count(*) AS prompts
FROM (SELECT unnest(if(len(kinds) = 0, ['none'], kinds)) AS kind FROM found)
GROUP BY ALL
ORDER BY prompts DESC, value
LIMIT 100
-- run
SELECT run_id AS value, count(*) AS prompts
FROM found
JOIN run_prompts USING (prompt_id)
GROUP BY ALL
ORDER BY prompts DESC, value
LIMIT 100
