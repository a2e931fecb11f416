-- pairs_facets.sql: after `pairs_found.sql`, how many pairs have each value of each facet. Out: facet, value, pairs, at most 100 a facet; of the
-- facets likeness and margin the value is the bin's number, of twentieths from 0.
FROM (
  SELECT 'run' AS facet, run_id AS value, count(*) AS pairs FROM found GROUP BY run_id
  UNION ALL SELECT 'source', source, count(*) FROM found GROUP BY source
  UNION ALL SELECT 'language', coalesce(language, 'unknown'), count(*) FROM found LEFT JOIN prompts USING (prompt_id) GROUP BY ALL
  UNION ALL SELECT 'doubt', doubt, count(*)
    FROM (SELECT unnest(list_filter([if(longer, 'longer', NULL), if(unlike, 'unlike', NULL), if(close, 'close', NULL),
      if(flawed, 'flawed', NULL), if(disputed, 'disputed', NULL)], lambda one: one IS NOT NULL)) AS doubt FROM found)
    GROUP BY doubt
  UNION ALL SELECT 'reviewed', said, count(*)
    FROM (SELECT unnest(coalesce(reviews, ['no'])) AS said FROM found) GROUP BY said
  UNION ALL SELECT 'likeness', least(floor(similarity * 20), 19)::BIGINT::VARCHAR, count(*) FROM found GROUP BY ALL
  UNION ALL SELECT 'margin', least(floor((margin + 1) * 10), 19)::BIGINT::VARCHAR, count(*) FROM found WHERE margin IS NOT NULL GROUP BY ALL
)
QUALIFY row_number() OVER (PARTITION BY facet ORDER BY pairs DESC, value) <= 100
ORDER BY facet, pairs DESC, value;
