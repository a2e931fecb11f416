-- corpus_facets.sql: after `corpus_found.sql`, how many prompts have each value of each facet. Out: facet, value,
-- prompts, at most 100 a facet.
FROM (
  SELECT 'source' AS facet, source AS value, count(*) AS prompts FROM found GROUP BY source
  UNION ALL SELECT 'language', language, count(*) FROM found GROUP BY language
  UNION ALL SELECT 'licence', licence, count(*) FROM found GROUP BY licence
  UNION ALL SELECT 'constraint', kind, count(*)
    FROM (SELECT unnest(if(len(kinds) = 0, ['none'], kinds)) AS kind FROM found) GROUP BY kind
  UNION ALL SELECT 'run', run_id, count(*) FROM found JOIN run_prompts USING (prompt_id) GROUP BY run_id
)
QUALIFY row_number() OVER (PARTITION BY facet ORDER BY prompts DESC, value) <= 100
ORDER BY facet, prompts DESC, value;
